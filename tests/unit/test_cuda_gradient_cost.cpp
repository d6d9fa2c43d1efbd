// When a gradient at a mask is computed scalar by scalar on a GPU, and when in tiles.
#include "backends/cuda/kernels/gradient_cost.h"

#include <cstdint>

#include <boost/test/unit_test.hpp>

namespace speft::cuda {
namespace {

GradientShape make_shape(std::uint64_t selected, bool tensor_cores, std::uint64_t width = 4096) {
    return {.selected = selected,
            .rows = width,
            .columns = width,
            .scalar_bytes = tensor_cores ? 2u : 4u,
            .tensor_cores = tensor_cores,
            .multiprocessors = 132};
}

// The most scalars that are still gathered. Checks on the way that there is one such number.
std::uint64_t find_most_gathered(bool tensor_cores, std::uint64_t width = 4096) {
    std::uint64_t most = 0;
    bool gathering = true;
    for (std::uint64_t selected = 1; selected <= width * width; selected += width * width / 10000) {
        const bool cheaper = is_gather_cheaper(make_shape(selected, tensor_cores, width));
        BOOST_TEST_REQUIRE((gathering || !cheaper));
        gathering = cheaper;
        if (cheaper) most = selected;
    }
    return most;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(cuda_gradient_cost)

BOOST_AUTO_TEST_CASE(gathers_few_scalars_and_multiplies_tiles_for_many) {
    constexpr std::uint64_t all = 4096 * 4096;
    for (const bool tensor_cores : {false, true}) {
        BOOST_TEST(find_most_gathered(tensor_cores) > all / 500);
        BOOST_TEST(find_most_gathered(tensor_cores) < all / 4);
    }
}

BOOST_AUTO_TEST_CASE(gathers_less_where_tiles_are_faster) {
    BOOST_TEST(find_most_gathered(true) < find_most_gathered(false));
}

BOOST_AUTO_TEST_CASE(costs_never_fall_as_a_weight_grows) {
    for (const bool tensor_cores : {false, true})
        for (std::uint64_t width = 1; width < 6000; width += 97) {
            const GradientShape smaller = make_shape(100, tensor_cores, width);
            const GradientShape larger = make_shape(100, tensor_cores, width + 97);
            BOOST_TEST(gather_cost(smaller) <= gather_cost(larger));
            BOOST_TEST(tile_cost(smaller) <= tile_cost(larger));
        }
}

// A weight of one tile takes as long as one of a tile a multiprocessor.
BOOST_AUTO_TEST_CASE(counts_rounds_of_tiles) {
    BOOST_TEST(tile_cost(make_shape(1, true, 100)) == tile_cost(make_shape(1, true, 11 * 128)));
    BOOST_TEST(tile_cost(make_shape(1, true, 12 * 128)) == 2 * tile_cost(make_shape(1, true, 100)));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace speft::cuda
