package org.speft;

import org.speft.internal.speft_basis_options;

/**
 * For which matrices a basis is, and how much of it is kept: {@code new BasisOptions(1536, 384).rowDirections(64)}.
 *
 * @param rows of each matrix, as the host's weight has it
 * @param columns of each matrix
 * @param rowDirections how many rows V has, the leading ones, at most {@code rows}; 0 for all
 * @param columnDirections how many rows U has, the leading ones, at most {@code columns}; 0 for all
 */
public record BasisOptions(long rows, long columns, long rowDirections, long columnDirections) {
    /**
     * All directions.
     *
     * @param rows of each matrix
     * @param columns of each matrix
     */
    public BasisOptions(long rows, long columns) {
        this(rows, columns, 0, 0);
    }

    /**
     * The same, keeping so many rows of V.
     *
     * @param count the leading ones; 0 for all
     * @return a new record
     */
    public BasisOptions rowDirections(long count) {
        return new BasisOptions(rows, columns, count, columnDirections);
    }

    /**
     * The same, keeping so many rows of U.
     *
     * @param count the leading ones; 0 for all
     * @return a new record
     */
    public BasisOptions columnDirections(long count) {
        return new BasisOptions(rows, columns, rowDirections, count);
    }

    speft_basis_options toNative(Arena arena) {
        speft_basis_options struct = arena.own(new speft_basis_options());
        struct.setRows(rows);
        struct.setColumns(columns);
        struct.setRow_directions(rowDirections);
        struct.setColumn_directions(columnDirections);
        return struct;
    }
}
