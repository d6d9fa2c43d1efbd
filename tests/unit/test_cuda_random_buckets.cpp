// How the CUDA backend shares out the images of a random mask.
#include "backends/cuda/kernels/random_buckets.h"

#include <boost/test/unit_test.hpp>

using namespace speft::cuda;

BOOST_AUTO_TEST_SUITE(cuda_random_buckets)

BOOST_AUTO_TEST_CASE(every_value_is_in_one_bucket) {
    for (const std::uint64_t size : {1ull, 2ull, 2049ull, 70001ull, 1ull << 22, 0xffffffffull})
        for (const std::uint64_t k : {std::uint64_t{1}, size / 3 + 1, size}) {
            const RandomBuckets buckets(size, 3, k);
            BOOST_TEST(buckets.count() == 3 * buckets.buckets);
            std::uint64_t bucket = buckets.buckets;  // the second row
            for (const std::uint64_t value : {std::uint64_t{0}, size / 2, size - 1}) {
                bucket = buckets.find(1, static_cast<std::uint32_t>(value));
                BOOST_TEST((buckets.begin_of(bucket) <= value && value < buckets.end_of(bucket)));
            }
            BOOST_TEST(bucket + 1 == 2 * buckets.buckets);
            BOOST_TEST(buckets.end_of(bucket) == size);
        }
}

// Few enough that shared memory holds them, and enough that a block is not idle.
BOOST_AUTO_TEST_CASE(buckets_hold_about_as_many_as_are_sorted_at_a_time) {
    for (const std::uint64_t size : {70001ull, 1000003ull, 0xffffffffull})
        for (const std::uint64_t k : {size / 50, size / 2, size}) {
            const RandomBuckets buckets(size, 1, k);
            const double mean = static_cast<double>(k) / static_cast<double>(buckets.buckets);
            BOOST_TEST(mean <= 1.01 * RandomBuckets::mean);
            BOOST_TEST((buckets.buckets == 1 || mean > 0.24 * RandomBuckets::mean));
        }
}

BOOST_AUTO_TEST_SUITE_END()
