// Steps of the optimizers that keep one number a row and one a column: SM3 and Adafactor. What many scalars of a row or
// a column are combined to, hangs on no order: maxima as they are, sums in fixed point (exact_sum.h). Those of a row
// are neighbours, so that a warp combines them first.
#include <utility>
#include <vector>

#include "backends/cuda/kernels/block.h"
#include "backends/cuda/kernels/exact_sum.h"
#include "backends/cuda/kernels/grouped.h"
#include "backends/cuda/kernels/segment_quad.h"
#include "backends/cuda/operations.h"
#include "core/base/block_code.h"
#include "core/base/update/adafactor.h"
#include "core/base/update/sm3.h"

namespace speft::cuda {
namespace {

constexpr std::uint32_t no_row = UINT32_MAX;

bool is_factored(const speft_factored_segment &s) { return s.columns > 1 && s.segment.count > 0; }
std::uint64_t count_rows(const speft_factored_segment &s) { return s.columns == 0 ? 0 : s.size / s.columns; }

__device__ Decay<> make_decay(const speft_factored_segment &s) {
    return {s.decay_kind, s.decay, s.segment.absolute != 0};
}

// Where the scalars of a quad are in the parameter, which has fewer than 2^32; those beside the mask have no row.
class Places {
public:
    template <class Index>
    __device__ Places(std::uint64_t columns, unsigned mask, Index &&index) {
        const auto width = static_cast<std::uint32_t>(columns);
        std::uint32_t row = 0, start = 0;
        for (unsigned i = 0; i < quad_size; ++i) {
            if (!(mask >> i & 1)) {
                rows_[i] = no_row;
                columns_[i] = 0;
                continue;
            }
            const auto place = static_cast<std::uint32_t>(index(i));
            if (i == 0 || place - start >= width) {
                row = place / width;
                start = row * width;
            }
            rows_[i] = row;
            columns_[i] = place - start;
        }
    }

    __device__ std::uint32_t row(unsigned i) const { return rows_[i]; }
    __device__ std::uint32_t column(unsigned i) const { return columns_[i]; }
    // That of the last scalar, for which a warp combines what its threads have.
    __device__ std::uint32_t last_row() const {
        std::uint32_t last = no_row;
        for (unsigned i = 0; i < quad_size; ++i)
            if (rows_[i] != no_row) last = rows_[i];
        return last;
    }

private:
    std::uint32_t rows_[quad_size], columns_[quad_size];
};

__device__ Places find_places(const speft_factored_segment &s, std::uint64_t j, unsigned mask) {
    const std::uint32_t *const indices = s.segment.indices;
    const Quad quad = indices ? Quad::load<4>(indices, j, mask) : Quad();
    return Places(s.columns, mask, [&](unsigned i) { return indices ? quad.bits<4>(i) : j + i; });
}

// Combines the values of the lanes from this one on that have the same row; rows never fall from lane to lane, and come
// last where there is none.
template <class Value, class Combine>
__device__ inline Value combine_row(std::uint32_t row, Value value, Combine &&combine) {
    for (unsigned distance = 1; distance < warp_threads; distance *= 2) {
        const std::uint32_t other_row = __shfl_down_sync(full_warp, row, distance);
        const Value other = __shfl_down_sync(full_warp, value, distance);
        if (lane() + distance < warp_threads && other_row == row) value = combine(value, other);
    }
    return value;
}

// Whether this lane is the first one of its row, which has all that `combine_row` found.
__device__ inline bool leads_row(std::uint32_t row) {
    const std::uint32_t before = __shfl_up_sync(full_warp, row, 1);
    return row != no_row && (lane() == 0 || before != row);
}

// ---- SM3 ----

struct Copy {
    const float *source;
    float *target;
    std::uint64_t count;
};

__global__ void copy_arrays(const __grid_constant__ Batch<Copy> batch) {
    const BlockTask task = find_task(batch, blockIdx.x);
    const Copy &copy = batch.items[task.item];
    const std::uint64_t begin = task.block * elements_per_block<>, end = min(begin + elements_per_block<>, copy.count);
    for (std::uint64_t i = begin + threadIdx.x; i < end; i += blockDim.x) copy.target[i] = copy.source[i];
}

// The sums as they were before the update; a parameter with one column needs none, since nobody else reads the sum of
// its scalar.
struct Sm3Segment {
    speft_factored_segment segment;
    const float *rows_before, *columns_before;
};

// Numbers that are 0 or more rise as their bits do. A NaN is not among them. Most do not raise a sum of many updates:
// what is read there may be old, but never too large.
__device__ inline void raise(float *largest, float value) {
    if (value > *largest) atomicMax(reinterpret_cast<unsigned *>(largest), __float_as_uint(value));
}

__global__ void __launch_bounds__(block_threads, 3) update_sm3_segments(
    const __grid_constant__ Batch<Sm3Segment> batch) {
    const BlockTask task = find_task(batch, blockIdx.x);
    const Sm3Segment &item = batch.items[task.item];
    const speft_factored_segment &s = item.segment;
    const speft_segment &segment = s.segment;
    const Decay<> decay = make_decay(s);
    const bool factored = s.columns > 1;
    for_each_quad(task.block, segment.count, [&](std::uint64_t j, unsigned mask) {
        SegmentQuad quad(segment, j, mask);
        const Quad gradients = Quad::load<4>(s.gradient, j, mask);
        if (decay.is_of_weight()) quad.load_weights(segment);
        const Places places(s.columns, mask, [&](unsigned i) { return quad.index(segment, i); });
        float sums[quad_size], deltas[quad_size];
        for (unsigned i = 0; i < quad_size; ++i) {
            sums[i] = 0;
            if (!(mask >> i & 1)) continue;
            sums[i] = (factored ? item.rows_before : s.rows)[places.row(i)];
            if (!factored) continue;
            const float of_column = item.columns_before[places.column(i)];
            if (of_column < sums[i]) sums[i] = of_column;
        }
        const std::uint32_t last_row = places.last_row();
        float largest = 0;
        for (unsigned i = 0; i < quad_size; ++i) {
            const Sm3Update update = update_sm3(s, decay, sums[i], gradients.get<float>(i),
                                                pulled_by(decay, segment, quad, i), quad.delta(segment, i));
            deltas[i] = update.delta;
            if (!(mask >> i & 1)) continue;
            if (!factored) {
                if (update.moment > sums[i]) s.rows[places.row(i)] = update.moment;
                continue;
            }
            raise(s.columns_state + places.column(i), update.moment);
            if (places.row(i) != last_row)
                raise(s.rows + places.row(i), update.moment);
            else if (update.moment > largest)
                largest = update.moment;
        }
        if (factored) {
            largest = combine_row(last_row, largest, [](float a, float b) { return a > b ? a : b; });
            if (leads_row(last_row)) raise(s.rows + last_row, largest);
        }
        quad.store(segment, mask, deltas);
    });
}

// ---- Adafactor ----

// The gradients' energy in a row or a column.
struct Energy {
    unsigned long long high, low;  // its fixed point
    unsigned largest;              // |g|, as bits; then there is no sum where it is infinite or NaN
    unsigned count;                // of the selected scalars
};

struct AdafactorSegment {
    speft_factored_segment segment;
    Energy *energies;  // of the rows, then of the columns
    AdafactorScale *scale;
    // Parts of s and of the mean of u², a block each, in order.
    double *row_totals, *squares;
};

constexpr std::uint64_t axes_per_block = 4 * block_threads;  // rows and columns

std::uint64_t count_axes(const speft_factored_segment &s) { return is_factored(s) ? count_rows(s) + s.columns : 0; }

SPEFT_HOST_DEVICE std::uint64_t count_parts(std::uint64_t count, std::uint64_t per_block) {
    return (count + per_block - 1) / per_block;
}

__device__ inline bool is_finite(unsigned magnitude) { return magnitude < 0x7f800000u; }

__device__ inline double unit_of(const speft_factored_segment &s, unsigned largest) {
    return fixed_point_unit(adafactor_energy(s, __uint_as_float(largest)));
}

// How many scalars each row and column has, and its largest |g|.
__global__ void __launch_bounds__(block_threads) measure_energies(
    const __grid_constant__ Batch<AdafactorSegment> batch) {
    const BlockTask task = find_task(batch, blockIdx.x);
    const AdafactorSegment &item = batch.items[task.item];
    const speft_factored_segment &s = item.segment;
    Energy *const of_rows = item.energies, *const of_columns = item.energies + s.size / s.columns;
    for_each_quad(task.block, s.segment.count, [&](std::uint64_t j, unsigned mask) {
        const Quad gradients = Quad::load<4>(s.gradient, j, mask);
        const Places places = find_places(s, j, mask);
        const std::uint32_t last_row = places.last_row();
        unsigned largest = 0, count = 0;
        for (unsigned i = 0; i < quad_size; ++i) {
            if (!(mask >> i & 1)) continue;
            const unsigned magnitude = magnitude_bits(gradients.get<float>(i) * s.gradient_scale);
            const auto add = [&](Energy &energy) {
                atomicAdd(&energy.count, 1u);
                if (magnitude > energy.largest) atomicMax(&energy.largest, magnitude);
            };
            add(of_columns[places.column(i)]);
            if (places.row(i) != last_row) {
                add(of_rows[places.row(i)]);
            } else {
                largest = max(largest, magnitude);
                ++count;
            }
        }
        largest = combine_row(last_row, largest, [](unsigned a, unsigned b) { return max(a, b); });
        count = combine_row(last_row, count, [](unsigned a, unsigned b) { return a + b; });
        if (leads_row(last_row)) {
            atomicAdd(&of_rows[last_row].count, count);
            atomicMax(&of_rows[last_row].largest, largest);
        }
    });
}

__device__ inline void add(Energy &energy, FixedPoint part) {
    atomicAdd(&energy.high, static_cast<unsigned long long>(part.high));
    atomicAdd(&energy.low, static_cast<unsigned long long>(part.low));
}

__global__ void __launch_bounds__(block_threads) add_energies(const __grid_constant__ Batch<AdafactorSegment> batch) {
    const BlockTask task = find_task(batch, blockIdx.x);
    const AdafactorSegment &item = batch.items[task.item];
    const speft_factored_segment &s = item.segment;
    Energy *const of_rows = item.energies, *const of_columns = item.energies + s.size / s.columns;
    for_each_quad(task.block, s.segment.count, [&](std::uint64_t j, unsigned mask) {
        const Quad gradients = Quad::load<4>(s.gradient, j, mask);
        const Places places = find_places(s, j, mask);
        const std::uint32_t last_row = places.last_row();
        FixedPoint sum = {0, 0};
        for (unsigned i = 0; i < quad_size; ++i) {
            if (!(mask >> i & 1)) continue;
            const double own = adafactor_energy(s, gradients.get<float>(i) * s.gradient_scale);
            const std::uint32_t row = places.row(i), column = places.column(i);
            const unsigned of_column = of_columns[column].largest, of_row = of_rows[row].largest;
            if (is_finite(of_column)) add(of_columns[column], to_fixed_point(own, unit_of(s, of_column)));
            if (!is_finite(of_row)) continue;
            const FixedPoint part = to_fixed_point(own, unit_of(s, of_row));
            if (row != last_row) {
                add(of_rows[row], part);
            } else {
                sum.high += part.high;
                sum.low += part.low;
            }
        }
        const auto plus = [](std::uint64_t a, std::uint64_t b) { return a + b; };
        sum.high = combine_row(last_row, sum.high, plus);
        sum.low = combine_row(last_row, sum.low, plus);
        if (leads_row(last_row)) add(of_rows[last_row], sum);
    });
}

// The rows and columns move, where they have selected scalars.
__global__ void __launch_bounds__(block_threads) move_axes(const __grid_constant__ Batch<AdafactorSegment> batch) {
    const BlockTask task = find_task(batch, blockIdx.x);
    const AdafactorSegment &item = batch.items[task.item];
    const speft_factored_segment &s = item.segment;
    const std::uint64_t rows = s.size / s.columns, axes = rows + s.columns;
    const std::uint64_t begin = task.block * axes_per_block, end = min(begin + axes_per_block, axes);
    double total = 0;
    for (std::uint64_t axis = begin + threadIdx.x; axis < end; axis += block_threads) {
        const Energy energy = item.energies[axis];
        if (energy.count == 0) continue;
        const double sum = is_finite(energy.largest)
                               ? from_fixed_point({energy.high, energy.low}, unit_of(s, energy.largest))
                               : __uint_as_float(energy.largest);
        const auto count = static_cast<double>(energy.count);
        float &state = axis < rows ? s.rows[axis] : s.columns_state[axis - rows];
        state = adafactor_average(s, state, sum / count);
        if (axis < rows) total += count * static_cast<double>(state);
    }
    total = block_sum(total);
    if (threadIdx.x == 0) item.row_totals[task.block] = total;
}

__device__ inline double sum_parts(const double *parts, std::uint64_t count) {
    double sum = 0;
    for (std::uint64_t i = threadIdx.x; i < count; i += block_threads) sum += parts[i];
    return block_sum(sum);
}

// A block for each segment.
__global__ void __launch_bounds__(block_threads) find_row_means(const __grid_constant__ Batch<AdafactorSegment> batch) {
    const AdafactorSegment &item = batch.items[find_task(batch, blockIdx.x).item];
    const speft_factored_segment &s = item.segment;
    if (s.columns <= 1 || s.segment.count == 0) {
        if (threadIdx.x == 0) *item.scale = {};
        return;
    }
    const double total = sum_parts(item.row_totals, count_parts(s.size / s.columns + s.columns, axes_per_block));
    if (threadIdx.x == 0) item.scale->row_mean = static_cast<float>(total / static_cast<double>(s.segment.count));
}

__device__ inline float direction_of(const speft_factored_segment &s, const Places &places, unsigned i, float gradient,
                                     float row_mean) {
    return adafactor_direction(s, gradient, s.rows[places.row(i)],
                               s.columns > 1 ? s.columns_state[places.column(i)] : 0, row_mean);
}

__global__ void __launch_bounds__(block_threads) sum_directions(const __grid_constant__ Batch<AdafactorSegment> batch) {
    const BlockTask task = find_task(batch, blockIdx.x);
    const AdafactorSegment &item = batch.items[task.item];
    const speft_factored_segment &s = item.segment;
    const float row_mean = item.scale->row_mean;
    double sum = 0;
    for_each_quad(task.block, s.segment.count, [&](std::uint64_t j, unsigned mask) {
        const Quad gradients = Quad::load<4>(s.gradient, j, mask);
        const Places places = find_places(s, j, mask);
        for (unsigned i = 0; i < quad_size; ++i) {
            if (!(mask >> i & 1)) continue;
            const float gradient = gradients.get<float>(i);
            if (s.columns <= 1) {  // nobody else has this row
                float &row = s.rows[places.row(i)];
                row = adafactor_average(s, row, adafactor_energy(s, gradient * s.gradient_scale));
            }
            const double u = direction_of(s, places, i, gradient, row_mean);
            sum += u * u;
        }
    });
    sum = block_sum(sum);
    if (threadIdx.x == 0) item.squares[task.block] = sum;
}

// A block for each segment.
__global__ void __launch_bounds__(block_threads) find_divisors(const __grid_constant__ Batch<AdafactorSegment> batch) {
    const AdafactorSegment &item = batch.items[find_task(batch, blockIdx.x).item];
    const speft_factored_segment &s = item.segment;
    const double squares = sum_parts(item.squares, count_parts(s.segment.count, elements_per_block<>));
    if (threadIdx.x == 0) item.scale->divisor = adafactor_divisor(s, squares);
}

__global__ void __launch_bounds__(block_threads, 4) update_adafactor_segments(
    const __grid_constant__ Batch<AdafactorSegment> batch) {
    const BlockTask task = find_task(batch, blockIdx.x);
    const AdafactorSegment &item = batch.items[task.item];
    const speft_factored_segment &s = item.segment;
    const speft_segment &segment = s.segment;
    const Decay<> decay = make_decay(s);
    const AdafactorScale scale = *item.scale;
    for_each_quad(task.block, segment.count, [&](std::uint64_t j, unsigned mask) {
        SegmentQuad quad(segment, j, mask);
        const Quad gradients = Quad::load<4>(s.gradient, j, mask);
        if (decay.is_of_weight()) quad.load_weights(segment);
        const Places places(s.columns, mask, [&](unsigned i) { return quad.index(segment, i); });
        float deltas[quad_size];
        for (unsigned i = 0; i < quad_size; ++i) {
            deltas[i] = 0;
            if (!(mask >> i & 1)) continue;
            const float direction = direction_of(s, places, i, gradients.get<float>(i), scale.row_mean);
            deltas[i] = update_adafactor(s, decay, direction, scale.divisor, pulled_by(decay, segment, quad, i),
                                         quad.delta(segment, i));
        }
        quad.store(segment, mask, deltas);
    });
}

}  // namespace

std::uint64_t step_sm3_scratch(const speft_backend_device &, const speft_step_sm3 &arguments) {
    std::uint64_t floats = 0;
    for (std::uint64_t i = 0; i < arguments.count; ++i) floats += count_axes(arguments.segments[i]);
    return floats * sizeof(float);
}

void step_sm3(speft_backend_device &device, const speft_step_sm3 &arguments, void *scratch) {
    std::vector<Sm3Segment> segments(arguments.count);
    std::vector<Copy> copies;
    auto *free = static_cast<float *>(scratch);
    for (std::uint64_t i = 0; i < arguments.count; ++i) {
        const speft_factored_segment &s = segments[i].segment = arguments.segments[i];
        if (!is_factored(s)) continue;
        const auto keep = [&](const float *source, std::uint64_t count) {
            copies.push_back({source, free, count});
            return std::exchange(free, free + count);
        };
        segments[i].rows_before = keep(s.rows, count_rows(s));
        segments[i].columns_before = keep(s.columns_state, s.columns);
    }
    for_each_batch(
        copies.data(), copies.size(), elements_per_block<>, [](const Copy &copy) { return copy.count; },
        [&](const Batch<Copy> &batch, unsigned blocks) {
            launch(device, "step_sm3", {.blocks = blocks}, copy_arrays, batch);
        });
    for_each_batch(
        segments.data(), segments.size(), elements_per_block<>,
        [](const Sm3Segment &item) { return item.segment.segment.count; },
        [&](const Batch<Sm3Segment> &batch, unsigned blocks) {
            launch(device, "step_sm3", {.blocks = blocks}, update_sm3_segments, batch);
        });
}

std::uint64_t step_adafactor_scratch(const speft_backend_device &, const speft_step_adafactor &arguments) {
    std::uint64_t bytes = 0;
    for (std::uint64_t i = 0; i < arguments.count; ++i) {
        const speft_factored_segment &s = arguments.segments[i];
        const std::uint64_t parts = count_parts(count_axes(s), axes_per_block) +
                                    count_parts(s.segment.count, elements_per_block<>);
        bytes += count_axes(s) * sizeof(Energy) + parts * sizeof(double) + sizeof(AdafactorScale);
    }
    return bytes;
}

void step_adafactor(speft_backend_device &device, const speft_step_adafactor &arguments, void *scratch) {
    std::vector<AdafactorSegment> segments(arguments.count);
    auto *energies = static_cast<Energy *>(scratch);
    for (std::uint64_t i = 0; i < arguments.count; ++i) {
        segments[i].segment = arguments.segments[i];
        segments[i].energies = std::exchange(energies, energies + count_axes(arguments.segments[i]));
    }
    const auto bytes = static_cast<std::size_t>(reinterpret_cast<char *>(energies) - static_cast<char *>(scratch));
    if (bytes > 0) check(cudaMemsetAsync(scratch, 0, bytes, device.stream), "step_adafactor");
    auto *parts = reinterpret_cast<double *>(energies);
    for (AdafactorSegment &item : segments) {
        const std::uint64_t blocks_of_axes = count_parts(count_axes(item.segment), axes_per_block);
        item.row_totals = std::exchange(parts, parts + blocks_of_axes);
        item.squares = std::exchange(parts, parts + count_parts(item.segment.segment.count, elements_per_block<>));
    }
    auto *scales = reinterpret_cast<AdafactorScale *>(parts);
    for (AdafactorSegment &item : segments) item.scale = scales++;

    using Kernel = void (*)(Batch<AdafactorSegment>);
    const auto run = [&](Kernel kernel, std::uint64_t per_block, auto &&length) {
        for_each_batch(segments.data(), segments.size(), per_block, length,
                       [&](const Batch<AdafactorSegment> &batch, unsigned blocks) {
                           launch(device, "step_adafactor", {.blocks = blocks}, kernel, batch);
                       });
    };
    const auto count = [](const AdafactorSegment &item) { return item.segment.segment.count; };
    const auto factored_count = [](const AdafactorSegment &item) {
        return is_factored(item.segment) ? item.segment.segment.count : 0;
    };
    const auto one = [](const AdafactorSegment &) { return std::uint64_t{1}; };
    run(measure_energies, elements_per_block<>, factored_count);
    run(add_energies, elements_per_block<>, factored_count);
    run(move_axes, axes_per_block, [](const AdafactorSegment &item) { return count_axes(item.segment); });
    run(find_row_means, 1, one);
    run(sum_directions, elements_per_block<>, count);
    run(find_divisors, 1, one);
    run(update_adafactor_segments, elements_per_block<>, count);
}

}  // namespace speft::cuda
