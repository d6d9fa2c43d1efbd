// How the CUDA backend's products are divided among blocks.
#include <boost/test/unit_test.hpp>
#include <cstdint>

#include "backends/cuda/kernels/lower_tiles.h"
#include "backends/cuda/kernels/sparse_lists.h"

using namespace speft::cuda;

BOOST_AUTO_TEST_SUITE(cuda_products)

BOOST_AUTO_TEST_CASE(finds_the_tiles_of_a_lower_triangle_row_by_row) {
    std::uint32_t tile = 0;
    for (std::uint32_t row = 0; row < 200; ++row)
        for (std::uint32_t column = 0; column <= row; ++column, ++tile) {
            const TilePlace place = find_lower_tile(tile);
            BOOST_REQUIRE_EQUAL(place.row, row);
            BOOST_REQUIRE_EQUAL(place.column, column);
        }
    BOOST_TEST(count_lower_tiles(200) == tile);
}

// Where float32 no longer holds the number of a tile.
BOOST_AUTO_TEST_CASE(finds_the_first_and_the_last_tile_of_long_rows) {
    for (std::uint32_t row = 5000; row < 65000; row += 997) {
        const auto first = static_cast<std::uint32_t>(count_lower_tiles(row));
        BOOST_REQUIRE_EQUAL(find_lower_tile(first).row, row);
        BOOST_REQUIRE_EQUAL(find_lower_tile(first).column, 0u);
        BOOST_REQUIRE_EQUAL(find_lower_tile(first + row).row, row);
        BOOST_REQUIRE_EQUAL(find_lower_tile(first + row).column, row);
    }
}

BOOST_AUTO_TEST_CASE(bounds_the_counters_of_sparse_entries) {
    for (const std::uint64_t columns : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{4096}, std::uint64_t{1} << 30})
        for (const std::uint64_t entries : {0, 1, 1023, 1024, 1025, 1 << 20, 123456789}) {
            const EntryChunks chunks(entries, columns);
            BOOST_TEST(chunks.size * chunks.count >= entries);
            BOOST_TEST((chunks.count == 0 || chunks.size * (chunks.count - 1) < entries));
            BOOST_TEST(chunks.count <= EntryChunks::most);
            BOOST_TEST((chunks.count <= 1 || chunks.count * columns <= EntryChunks::most_counters));
        }
}

BOOST_AUTO_TEST_CASE(divides_rows_into_groups_of_whole_tiles) {
    for (const std::uint64_t element : {2, 4})
        for (const std::uint64_t columns : {0, 1, 4096, 50000, 40000000})
            for (const std::uint64_t rows : {0, 1, 64, 65, 2048, 100003}) {
                const RowGroups groups(rows, columns * element, element);
                const std::uint64_t tile = RowGroups::lanes * groups.lane_rows;
                BOOST_TEST(groups.rows <= rows);
                BOOST_TEST((groups.rows > 0 || rows == 0));
                BOOST_TEST((groups.rows == rows || groups.rows % tile == 0));
                BOOST_TEST(groups.pitch % groups.lane_rows == 0);
                BOOST_TEST((groups.pitch >= groups.rows && groups.pitch < groups.rows + groups.lane_rows));
                BOOST_TEST((groups.rows <= tile || groups.rows * columns * element <= RowGroups::most_bytes));
            }
}

BOOST_AUTO_TEST_SUITE_END()
