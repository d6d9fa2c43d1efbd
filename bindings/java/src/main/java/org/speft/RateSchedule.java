package org.speft;

import org.speft.internal.CapiConstants;

/** How the share of scalars that SpIEL replaces falls, with ξ the rate, t the step and T all steps. */
public enum RateSchedule {
    /** Linear where there are total steps, else constant. */
    DEFAULT(CapiConstants.SPEFT_SCHEDULE_DEFAULT),

    /** ξ·(T − t)/T */
    LINEAR(CapiConstants.SPEFT_SCHEDULE_LINEAR),

    /** ξ/2·(1 + cos(π·t/T)) */
    COSINE(CapiConstants.SPEFT_SCHEDULE_COSINE),

    /** ξ */
    CONSTANT(CapiConstants.SPEFT_SCHEDULE_CONSTANT),

    /** No replacements after the first; masks of {@link Selection#SPARSEGRAD} and {@link Selection#MEPROP} stay. */
    NONE(CapiConstants.SPEFT_SCHEDULE_NONE);

    final int code;

    RateSchedule(int code) {
        this.code = code;
    }
}
