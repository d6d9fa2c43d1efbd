#include "core/storage/mask_code.h"

#include <bit>
#include <string>

#include "core/storage/defect.h"

namespace speft {

namespace {

std::uint64_t bytes_for(std::uint64_t bits) { return (bits + 7) / 8; }

struct Layout {
    Layout(std::uint64_t count, std::uint64_t size)
        : low_width(count == 0 ? 0 : static_cast<unsigned>(std::bit_width(size / count)) - 1),
          low_bits(count * low_width), high_bits(count == 0 ? 0 : count + ((size - 1) >> low_width)) {}

    unsigned low_width;  // of one index
    std::uint64_t low_bits, high_bits;
};

// Bit i of a code is bit i % 8 of byte i / 8, the lowest first.
void put_bits(std::span<std::byte> code, std::uint64_t at, std::uint64_t value) {
    value <<= at % 8;
    for (std::size_t byte = at / 8; value != 0; ++byte, value >>= 8) code[byte] |= static_cast<std::byte>(value);
}

std::uint64_t get_bits(std::span<const std::byte> code, std::uint64_t at, std::uint64_t width) {
    std::uint64_t value = 0;
    for (std::uint64_t byte = bytes_for(at + width); byte-- > at / 8;)
        value = value << 8 | std::to_integer<std::uint64_t>(code[byte]);
    return value >> at % 8 & ((std::uint64_t{1} << width) - 1);
}

// The last byte of each part is filled up with zeros.
void check_padding(std::span<const std::byte> part, std::uint64_t bits) {
    if (get_bits(part, bits, part.size() * 8 - bits) != 0) throw Defect("a mask has bits behind its end");
}

}  // namespace

std::uint64_t get_mask_code_size(std::uint64_t count, std::uint64_t size) {
    const Layout layout(count, size);
    return bytes_for(layout.low_bits) + bytes_for(layout.high_bits);
}

std::vector<std::byte> encode_mask(std::span<const std::uint32_t> indices, std::uint64_t size) {
    const Layout layout(indices.size(), size);
    std::vector<std::byte> code(get_mask_code_size(indices.size(), size));
    const std::span low = std::span(code).first(bytes_for(layout.low_bits));
    const std::span high = std::span(code).subspan(low.size());
    const std::uint32_t low_part = (1u << layout.low_width) - 1;
    for (std::uint64_t j = 0; j < indices.size(); ++j) {
        put_bits(low, j * layout.low_width, indices[j] & low_part);
        put_bits(high, j + (indices[j] >> layout.low_width), 1);
    }
    return code;
}

std::vector<std::uint32_t> decode_mask(std::span<const std::byte> code, std::uint64_t count, std::uint64_t size) {
    const Layout layout(count, size);
    const std::span low = code.first(bytes_for(layout.low_bits));
    const std::span high = code.subspan(low.size());
    check_padding(low, layout.low_bits);
    check_padding(high, layout.high_bits);
    std::vector<std::uint32_t> indices;
    std::uint64_t next = 0;  // the smallest value that the coming index may have
    for (std::uint64_t byte = 0; byte < high.size(); ++byte) {
        for (auto ones = std::to_integer<unsigned>(high[byte]); ones != 0; ones &= ones - 1) {
            const std::uint64_t j = indices.size();
            if (j == count) throw Defect("a mask has more than " + std::to_string(count) + " indices");
            const std::uint64_t high_part = byte * 8 + static_cast<unsigned>(std::countr_zero(ones)) - j;
            const std::uint64_t index =
                high_part << layout.low_width | get_bits(low, j * layout.low_width, layout.low_width);
            if (index < next || index >= size)
                throw Defect("index " + std::to_string(index) + " of a mask must rise and stay below " +
                             std::to_string(size));
            indices.push_back(static_cast<std::uint32_t>(index));
            next = index + 1;
        }
    }
    if (indices.size() != count)
        throw Defect("a mask has " + std::to_string(indices.size()) + " indices, expected " + std::to_string(count));
    return indices;
}

}  // namespace speft
