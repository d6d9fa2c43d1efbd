package org.speft;

/**
 * What a reselection moved.
 *
 * @param step after which it came
 * @param dropped scalars that are no longer selected; with dynamic masks they are settled
 * @param grown scalars that are newly selected
 * @param settled scalars of the settled set, by now
 */
public record Reselection(long step, long dropped, long grown, long settled) {}
