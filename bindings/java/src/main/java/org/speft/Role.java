package org.speft;

import org.speft.internal.CapiConstants;

/** What is trained of a parameter. */
public enum Role {
    /** A mask of its scalars. */
    SPARSE(CapiConstants.SPEFT_ROLE_SPARSE),

    /** All of it: a new head. */
    DENSE(CapiConstants.SPEFT_ROLE_DENSE);

    final int code;

    Role(int code) {
        this.code = code;
    }

    static Role of(int code) {
        for (Role value : values()) if (value.code == code) return value;
        throw new AssertionError("libspeft knows a Role that this package does not: " + code);
    }
}
