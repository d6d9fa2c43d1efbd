// A product of a few rows with a weight of 4-bit codes, which takes about as long as reading the codes: they are
// decoded in registers, each for all rows, and never written. Where the weight is transposed, tasks are some of its
// rows, in dot products; else some of its columns, of which the rows are added up in the nearest cache.
//
// Weights are not rounded before they are multiplied: scales come last, and the values that are added to weights have a
// sum of their own.
//
// Scratch: a in the order of the codes; the same turned, where there are values; sums of columns; and where each row's
// indices start.
#include "backends/cpu/operations.h"
#include "backends/cpu/product/code_kernels.h"
#include "backends/cpu/product/sparse_rows.h"
#include "backends/cpu/product_frame.h"
#include "backends/cpu/quantization/scales.h"

namespace speft::cpu {
namespace {

class CodeProduct {
public:
    CodeProduct(const speft_backend_device &device, const speft_multiply_quantized &arguments,
                const CodeKernels &kernels)
        : device_(device),
          m_(arguments),
          frame_(frame_of(arguments)),
          q_(arguments.quantized),
          kernels_(kernels),
          chunk_(codes_a_word * kernels.lanes),
          width_(m_.rows <= 1 ? 1 : m_.rows <= 4 ? 4 : most_tokens),
          added_(m_.indices, m_.values, m_.values_type, m_.count, m_.b_rows, m_.b_columns) {}

    std::uint64_t scratch_bytes() const {
        return added_.scratch_bytes() + (ordered_size() + turned_size() + sums_size()) * sizeof(float);
    }

    void run(void *scratch) {
        added_.find_rows(device_, scratch);
        ordered_ = reinterpret_cast<float *>(static_cast<unsigned char *>(scratch) + added_.scratch_bytes());
        turned_ = ordered_ + ordered_size();
        sums_ = turned_ + turned_size();
        visit_scalar(m_.a_type, [&](auto scalar) { read_a(static_cast<const decltype(scalar) *>(m_.a)); });
        visit_scalar(m_.target_type, [&](auto scalar) {
            auto *const target = static_cast<decltype(scalar) *>(m_.target);
            m_.transposed ? multiply_rows(target) : add_rows(target);
        });
    }

private:
    static constexpr std::uint64_t codes_a_word = 8;
    static constexpr std::uint64_t rows_a_task = 32;
    static constexpr std::uint64_t most_rows = 4;          // of a call of the kernels
    static constexpr std::uint64_t most_columns = 8192;    // whose scales are decoded at a time
    static constexpr std::uint64_t least_ahead = 4096;     // bytes: to be read before a miss is over

    std::uint64_t ordered_size() const { return m_.transposed ? m_.rows * m_.b_columns : 0; }
    std::uint64_t turned_size() const { return m_.transposed && m_.count == 0 ? 0 : frame_.inner * width_; }
    std::uint64_t sums_size() const {
        return m_.transposed ? 0 : m_.b_columns * (m_.rows + (m_.count == 0 ? 0 : width_));
    }

    // visit(column, place) for the columns [begin, end) of a token, whole chunks: their places in the order of codes.
    template <class Visit>
    void for_each_place(std::uint64_t token, std::uint64_t begin, std::uint64_t end, Visit &&visit) const {
        for (; begin < end; begin += chunk_) {
            const std::uint64_t chunk = begin * m_.rows + token * chunk_;
            for (std::uint64_t lane = 0; lane < kernels_.lanes; ++lane)
                for (std::uint64_t code = 0; code < codes_a_word; ++code)
                    visit(begin + lane * codes_a_word + code, chunk + (code ^ 1) * kernels_.lanes + lane);
        }
    }

    template <class Scalar>
    void read_a(const Scalar *a) const {
        for_each_piece(device_, Pieces(1024, frame_.inner), [&](Piece piece, std::int64_t) {
            for (std::uint64_t token = 0; token < m_.rows; ++token) {
                const Scalar *const values = a + token * frame_.inner;
                if (ordered_size() > 0)
                    for_each_place(token, piece.begin, piece.end, [&](std::uint64_t column, std::uint64_t place) {
                        ordered_[place] = to_float(values[column]);
                    });
                if (turned_size() > 0)
                    for (std::uint64_t j = piece.begin; j < piece.end; ++j)
                        turned_[j * width_ + token] = to_float(values[j]);
            }
            if (turned_size() > 0)
                for (std::uint64_t j = piece.begin; j < piece.end; ++j)
                    std::fill(turned_ + j * width_ + m_.rows, turned_ + (j + 1) * width_, 0.0f);
        });
    }

    // scales[i] of the weights from begin + i·scale_stretch on.
    void read_scales(std::uint64_t begin, std::uint64_t end, float *scales) const {
        constexpr std::uint64_t usual = 64;  // with its length known to the compiler
        const std::uint64_t first = begin / q_.block, last = divide_up(end, q_.block);
        if (q_.block == usual && begin % usual == 0 && end % usual == 0)
            for_each_scale(q_, first, last, [&](std::uint64_t, float scale) {
                scales = std::fill_n(scales, usual / scale_stretch, scale);
            });
        else
            for_each_scale(q_, first, last, [&](std::uint64_t block, float scale) {
                const std::uint64_t block_end = std::min((block + 1) * q_.block, end);
                for (; begin < block_end; begin += scale_stretch) *scales++ = scale;
            });
    }

    // body(token, count) for all tokens, so many at a time as a kernel takes.
    template <class Body>
    void for_each_token_group(Body &&body) const {
        for (std::uint64_t token = 0; token < m_.rows; token += kernels_.tokens)
            body(token, std::min(kernels_.tokens, m_.rows - token));
    }

    // body(strip, row, rows) for all rows in [begin, end), so many at a time as a kernel takes, of some columns.
    template <class Body>
    void for_each_strip(Piece rows, Piece columns, Body &&body) const {
        float scales[most_rows * most_columns / scale_stretch];
        const std::uint64_t width = columns.end - columns.begin, stride = m_.b_columns / 2;
        const std::uint64_t rows_ahead = round_up(divide_up(2 * least_ahead, width), kernels_.rows);
        for (std::uint64_t row = rows.begin; row < rows.end;) {
            const std::uint64_t count = row + kernels_.rows <= rows.end ? kernels_.rows : 1;
            for (std::uint64_t r = 0; r < count; ++r) {
                const std::uint64_t first = (row + r) * m_.b_columns;
                read_scales(first + columns.begin, first + columns.end, scales + r * (width / scale_stretch));
            }
            const auto *const codes = static_cast<const std::uint8_t *>(q_.codes);
            body(CodeStrip{codes + row * stride + columns.begin / 2, stride, rows_ahead * stride, scales,
                           width / scale_stretch, q_.levels, width / chunk_},
                 row, count);
            row += count;
        }
    }

    template <class Target>
    void write(Target &target, float sum) const {
        target = from_float<Target>((m_.accumulate ? to_float(target) : 0.0f) + m_.scale * sum);
    }

    // ---- transposed ----

    template <class Target>
    void multiply_rows(Target *target) const {
        const Pieces stretches(most_columns, m_.b_columns);
        for_each_piece(device_, Pieces(rows_a_task, m_.b_rows), [&](Piece rows, std::int64_t) {
            float sums[rows_a_task * most_tokens] = {};
            for (std::int64_t stretch = 0; stretch < stretches.count(); ++stretch) {
                const Piece columns = stretches[stretch];
                for_each_strip(rows, columns, [&](const CodeStrip &strip, std::uint64_t row, std::uint64_t count) {
                    for_each_token_group([&](std::uint64_t token, std::uint64_t tokens) {
                        kernels_.dot[count > 1][tokens - 1](
                            strip, ordered_ + columns.begin * m_.rows + token * chunk_, m_.rows * chunk_,
                            sums + (row - rows.begin) * most_tokens + token);
                    });
                });
            }
            for (std::uint64_t row = rows.begin; row < rows.end; ++row) {
                float *const of_row = sums + (row - rows.begin) * most_tokens;
                float of_values[most_tokens] = {};
                visit_width([&](auto width) {
                    added_.visit(row, 0, m_.b_columns, [&](std::uint64_t column, float value) {
                        add_product<width()>(value, turned_ + column * width(), of_values);
                    });
                });
                for (std::uint64_t token = 0; token < m_.rows; ++token)
                    write(target[token * m_.b_rows + row], of_row[token] + of_values[token]);
            }
        });
    }

    // With width_ as a constant.
    template <class Visit>
    void visit_width(Visit &&visit) const {
        switch (width_) {
        case 1: return visit(std::integral_constant<std::uint64_t, 1>{});
        case 4: return visit(std::integral_constant<std::uint64_t, 4>{});
        default: return visit(std::integral_constant<std::uint64_t, most_tokens>{});
        }
    }

    template <std::uint64_t width>
    static void add_product(float value, const float *tokens, float *sums) {
        for (std::uint64_t token = 0; token < width; ++token) sums[token] += value * tokens[token];
    }

    // ---- not transposed ----

    // Of columns that are a task's: so that sums stay in the nearest cache, and for all threads. What a column becomes
    // does not depend on it.
    std::uint64_t task_columns() const {
        const std::uint64_t near = std::max<std::uint64_t>(512, 4096 / m_.rows);
        const std::uint64_t share = divide_up(m_.b_columns, static_cast<std::uint64_t>(device_.threads));
        return round_up(std::min({near, share, most_columns}), chunk_);
    }

    template <class Target>
    void add_rows(Target *target) const {
        if (m_.rows == 0 || m_.b_columns == 0) return;
        if (m_.count > 0) visit_width([&](auto width) { add_values<width()>(); });
        for_each_piece(device_, Pieces(task_columns(), m_.b_columns), [&](Piece columns, std::int64_t) {
            const std::uint64_t width = columns.end - columns.begin;
            float *const sums = sums_ + columns.begin * m_.rows;
            std::fill_n(sums, width * m_.rows, 0.0f);
            for_each_strip({0, 0, m_.b_rows}, columns,
                           [&](const CodeStrip &strip, std::uint64_t row, std::uint64_t count) {
                for_each_token_group([&](std::uint64_t token, std::uint64_t tokens) {
                    kernels_.add[count > 1][tokens - 1](strip, turned_ + row * width_ + token, width_,
                                                        sums + token * chunk_, m_.rows * chunk_);
                });
            });
            for (std::uint64_t token = 0; token < m_.rows; ++token)
                for_each_place(token, columns.begin, columns.end, [&](std::uint64_t column, std::uint64_t place) {
                    float sum = sums_[place];
                    if (m_.count > 0) sum += of_values()[column * width_ + token];
                    write(target[token * m_.b_columns + column], sum);
                });
        });
    }

    // In parts as wide as can be, for each looks for its own in every row.
    template <std::uint64_t width>
    void add_values() const {
        const std::uint64_t share = divide_up(m_.b_columns, static_cast<std::uint64_t>(device_.threads));
        for_each_piece(device_, Pieces(share, m_.b_columns), [&](Piece columns, std::int64_t) {
            std::fill(of_values() + columns.begin * width, of_values() + columns.end * width, 0.0f);
            for (std::uint64_t row = 0; row < m_.b_rows; ++row)
                added_.visit(row, columns.begin, columns.end, [&](std::uint64_t column, float value) {
                    add_product<width>(value, turned_ + row * width, of_values() + column * width);
                });
        });
    }

    float *of_values() const { return sums_ + m_.b_columns * m_.rows; }  // [columns][width]

    const speft_backend_device &device_;
    const speft_multiply_quantized &m_;
    const ProductFrame frame_;
    const speft_quantized_blocks &q_;
    const CodeKernels &kernels_;
    const std::uint64_t chunk_;
    const std::uint64_t width_;  // of lines with a number a token: 1, 4 or most_tokens
    SparseRows added_;
    float *ordered_ = nullptr;  // [rows][inner], columns in the order of the codes
    float *turned_ = nullptr;   // [inner][width]
    float *sums_ = nullptr;     // of columns
};

// Some rows of a and of the target: as many as there is room for, and the rest after them.
speft_multiply_quantized part_of(const speft_multiply_quantized &arguments, Piece rows) {
    const auto move = [&](const void *matrix, std::int32_t type, std::uint64_t columns) {
        const std::uint64_t width = type == SPEFT_SCALAR_FLOAT32 ? 4 : 2;
        return static_cast<const unsigned char *>(matrix) + rows.begin * columns * width;
    };
    const ProductFrame frame = frame_of(arguments);
    speft_multiply_quantized part = arguments;
    part.a = move(arguments.a, arguments.a_type, frame.inner);
    part.target = const_cast<unsigned char *>(move(arguments.target, arguments.target_type, frame.columns));
    part.rows = rows.end - rows.begin;
    return part;
}

}  // namespace

const char *refuse_codes(const speft_multiply_quantized &arguments, const CodeKernels &kernels) {
    // Into columns, tiles are as fast as a second pass over the codes.
    const std::uint64_t most = arguments.transposed ? kernels.most_rows : kernels.most_tokens;
    if (arguments.rows > most) return "so many rows are faster by tiles";
    if (arguments.quantized.coding != SPEFT_CODING_LEVELS4) return "the codes are not of 4 bits";
    if (arguments.quantized.block % scale_stretch != 0) return "the blocks are not multiples of 32";
    if (arguments.b_columns % (8 * kernels.lanes) != 0) return "the weight's rows are not whole vectors of codes";
    return nullptr;
}

std::uint64_t multiply_codes_scratch(const speft_backend_device &device, const speft_multiply_quantized &arguments,
                                     const CodeKernels &kernels) {
    const speft_multiply_quantized first = part_of(arguments, {0, 0, std::min(arguments.rows, kernels.most_tokens)});
    return CodeProduct(device, first, kernels).scratch_bytes();
}

void multiply_codes(const speft_backend_device &device, const speft_multiply_quantized &arguments,
                    const CodeKernels &kernels, void *scratch) {
    const Pieces parts(kernels.most_tokens, arguments.rows);
    for (std::int64_t index = 0; index < parts.count(); ++index) {
        const speft_multiply_quantized part = part_of(arguments, parts[index]);
        CodeProduct(device, part, kernels).run(scratch);
    }
}

}  // namespace speft::cpu
