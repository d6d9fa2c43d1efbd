// A tap tells a layer which adapter's parameter it is: as data, so that one program serves all layers and adapters, and
// in digits that bfloat16 and float16 hold exactly, so that it survives a model that casts its parameters.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "failure.h"
#include "views.h"
#include "xla/ffi/api/ffi.h"

namespace speft::jax {

constexpr size_t tap_length = 8;

struct Tap {
    uint32_t number = 0; // of the adapter
    int64_t parameter = 0;
};

inline Tap read_tap(const float *digits) {
    std::array<uint32_t, tap_length> read{};
    uint32_t sum = 0;
    for (size_t i = 0; i < tap_length; ++i) {
        const float digit = digits[i];
        if (!(digit >= 0 && digit <= 255 && digit == std::floor(digit)))
            throw Failure(SPEFT_INVALID_ARGUMENT, "tap must reach linear() as the adapter made it; it was changed");
        read[i] = static_cast<uint32_t>(digit);
        if (i + 1 < tap_length) sum += read[i];
    }
    // 7 is added so that zeros are no tap.
    if (read[tap_length - 1] != (sum + 7) % 256)
        throw Failure(SPEFT_INVALID_ARGUMENT, "tap must reach linear() as the adapter made it; it was changed");
    return {read[0] | read[1] << 8 | read[2] << 16 | read[3] << 24,
            static_cast<int64_t>(read[4] | read[5] << 8 | read[6] << 16)};
}

inline size_t count_taps(const xla::ffi::AnyBuffer &taps) { return taps.element_count() / tap_length; }

// Calls body(tap, begin, end) for the taps [begin, end) of each run of equal ones, which stand side by side: those of a
// batch that vmap runs over. Over nothing it is not called.
template <class Body>
void for_each_tap(const xla::ffi::AnyBuffer &taps, Body body) {
    const auto *digits = static_cast<const float *>(taps.untyped_data());
    const size_t count = count_taps(taps);
    for (size_t begin = 0, end = 0; begin < count; begin = end) {
        const float *first = digits + begin * tap_length;
        end = begin + 1;
        while (end < count && std::equal(first, first + tap_length, digits + end * tap_length)) ++end;
        body(read_tap(first), begin, end);
    }
}

// A buffer [.., tokens, features] with one tap for each of its leading axes.
class Rows {
public:
    Rows(const char *argument, const xla::ffi::AnyBuffer &buffer, size_t taps)
        : view_(view_of(argument, buffer)), stride_(taps == 0 ? 0 : buffer.size_bytes() / taps),
          tokens_(view_.shape[view_.ndim - 2]), shape_{0, view_.shape[view_.ndim - 1]} {}
    Rows(const Rows &) = delete;

    // [tokens, features] behind the taps [begin, end), until the next call.
    speft_tensor behind(size_t begin, size_t end) {
        speft_tensor rows = view_;
        shape_[0] = tokens_ * static_cast<int64_t>(end - begin);
        rows.data = static_cast<char *>(view_.data) + begin * stride_;
        rows.ndim = 2;
        rows.shape = shape_.data();
        return rows;
    }

private:
    speft_tensor view_;
    size_t stride_;
    int64_t tokens_; // behind one tap
    std::array<int64_t, 2> shape_;
};

} // namespace speft::jax
