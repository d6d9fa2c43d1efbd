/// libspeft for C++17: the C headers with ownership, types and exceptions, in this one file.
///
/// It compiles with the program and calls the C functions of the same verbs; no C++ type crosses into the library. What
/// each call means is written in the C header of its noun (adapter.h, selection.h, training.h, …). C++ adds:
///
/// - Context, Adapter and Basis own their handles: they can be moved, not copied. A default-constructed, moved-from or
///   closed one is empty, and its calls throw invalid_argument.
/// - Whatever fails throws a subclass of speft::error, one a status; the object and the weights are as they were.
///   Exceptions have to be enabled (RTTI need not be).
/// - Options are plain structs with the library's defaults. Enumerators have names, those of files and of the Python
///   package: name(value) and from_name<Enum>(text).
/// - Tensors are views: TensorView to be read, MutableTensorView to be written too. `const` memory converts to the
///   former alone, so that weights in it cannot be bound. Vectors convert by themselves, to one axis; view(vector,
///   {rows, columns}) gives them a shape.
/// - Callbacks are std::function. What they throw comes out of the call that ran them, which has failed then (a
///   logger's has done its work all the same). A ParallelFor and a deallocate must not throw: the program ends.
///
/// Threads: as context.h says. A context, its adapters and its bases take one call at a time, a second one throws busy.
/// The objects here have no lock of their own: do not move, assign or destroy one while another thread calls it.
#ifndef SPEFT_SPEFT_HPP
#define SPEFT_SPEFT_HPP

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <initializer_list>
#include <istream>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <ostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "speft/speft.h"

namespace speft {

// ---- errors ----

/// What a call throws. `what()` is one line: the argument, what was expected, what came.
class error : public std::runtime_error {
public:
    error(speft_status status, const std::string &message, std::string backend = {}, std::int64_t native_code = 0)
        : std::runtime_error(message), status_(status), native_code_(native_code), backend_(std::move(backend)) {}

    /// SPEFT_INVALID_ARGUMENT and so on.
    speft_status status() const noexcept { return status_; }
    /// The backend in which it happened, "cpu" say; empty above the backends.
    const std::string &backend() const noexcept { return backend_; }
    /// The errno, cudaError_t or the like behind it; 0 when there is none.
    std::int64_t native_code() const noexcept { return native_code_; }

private:
    speft_status status_;
    std::int64_t native_code_;
    std::string backend_;
};

/// The error of one status. Statuses that this header does not know throw `error` itself.
template <speft_status Status>
class error_of : public error {
public:
    explicit error_of(const std::string &message, std::string backend = {}, std::int64_t native_code = 0)
        : error(Status, message, std::move(backend), native_code) {}
};

using invalid_argument = error_of<SPEFT_INVALID_ARGUMENT>;
using out_of_memory = error_of<SPEFT_OUT_OF_MEMORY>;
using unsupported = error_of<SPEFT_UNSUPPORTED>;
using unavailable = error_of<SPEFT_UNAVAILABLE>;
using invalid_state = error_of<SPEFT_INVALID_STATE>;
using busy = error_of<SPEFT_BUSY>;
using io_failure = error_of<SPEFT_IO>;
using corrupt = error_of<SPEFT_CORRUPT>;
using device_failure = error_of<SPEFT_DEVICE>;
using cancelled = error_of<SPEFT_CANCELLED>;
using internal_failure = error_of<SPEFT_INTERNAL>;

/// The constant's name without its prefix, "INVALID_ARGUMENT" say.
inline const char *name(speft_status status) { return speft_get_status_name(status); }

namespace detail {

[[noreturn]] inline void throw_error(speft_status status, const std::string &message, const std::string &backend,
                                     std::int64_t code) {
    switch (status) {
        case SPEFT_INVALID_ARGUMENT: throw invalid_argument(message, backend, code);
        case SPEFT_OUT_OF_MEMORY: throw out_of_memory(message, backend, code);
        case SPEFT_UNSUPPORTED: throw unsupported(message, backend, code);
        case SPEFT_UNAVAILABLE: throw unavailable(message, backend, code);
        case SPEFT_INVALID_STATE: throw invalid_state(message, backend, code);
        case SPEFT_BUSY: throw busy(message, backend, code);
        case SPEFT_IO: throw io_failure(message, backend, code);
        case SPEFT_CORRUPT: throw corrupt(message, backend, code);
        case SPEFT_DEVICE: throw device_failure(message, backend, code);
        case SPEFT_CANCELLED: throw cancelled(message, backend, code);
        case SPEFT_INTERNAL: throw internal_failure(message, backend, code);
        default: throw error(status, message, backend, code);
    }
}

// One call into the library, on the thread that makes it: what its callbacks throw waits here for its end. Callbacks
// run on the thread of the call that needs them, and may call another context from there.
class Call {
public:
    Call() noexcept : outer_(innermost()) { innermost() = this; }
    Call(const Call &) = delete;
    Call &operator=(const Call &) = delete;
    ~Call() { innermost() = outer_; }

    // For `catch (...)` in a callback.
    static void keep_exception() noexcept {
        if (!innermost()) std::terminate();  // an object's end: nobody is there to catch it
        if (!innermost()->thrown_) innermost()->thrown_ = std::current_exception();
    }

    // Of the error that the call has given, NULL where it succeeded.
    void finish(speft_error *failure) {
        const std::unique_ptr<speft_error, void (*)(speft_error *)> owner(failure, speft_destroy_error);
        if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
        if (failure)
            throw_error(speft_get_error_status(failure), speft_get_error_message(failure),
                        speft_get_error_backend(failure), speft_get_error_native_code(failure));
    }

private:
    static Call *&innermost() noexcept {
        thread_local Call *call = nullptr;
        return call;
    }

    Call *outer_;
    std::exception_ptr thrown_;
};

// call(speft_step, adapter, &options): the last argument, the error, is added here.
template <class Function, class... Arguments>
void call(Function *function, Arguments... arguments) {
    Call scope;
    speft_error *failure = nullptr;
    function(arguments..., &failure);
    scope.finish(failure);
}

template <class Struct>
Struct make() {
    Struct made = {};
    made.struct_size = sizeof made;
    return made;
}

template <class Struct>
Struct make(void (*init)(Struct *, std::uint32_t)) {
    Struct made;
    init(&made, sizeof made);
    return made;
}

}  // namespace detail

// ---- names of options ----

/// How a selection ranks: selection.h defines each.
enum class Method : std::int32_t {
    random = SPEFT_SELECT_RANDOM,
    magnitude = SPEFT_SELECT_MAGNITUDE,
    gradient = SPEFT_SELECT_GRADIENT,
    snip = SPEFT_SELECT_SNIP,
    mask = SPEFT_SELECT_GIVEN_MASK,
    scores = SPEFT_SELECT_GIVEN_SCORES,
    force = SPEFT_SELECT_FORCE,
    taylor_fo = SPEFT_SELECT_TAYLOR_FO,
    fisher = SPEFT_SELECT_FISHER,
    synflow = SPEFT_SELECT_SYNFLOW,
    grasp = SPEFT_SELECT_GRASP,
    grasp_code = SPEFT_SELECT_GRASP_CODE,
    weight_change = SPEFT_SELECT_WEIGHT_CHANGE,
    low_rank = SPEFT_SELECT_LOW_RANK,
    wanda = SPEFT_SELECT_WANDA,
    spiel_ag = SPEFT_SELECT_SPIEL_AG,
    spiel_ma = SPEFT_SELECT_SPIEL_MA,
    sparsegrad = SPEFT_SELECT_SPARSEGRAD,  // each parameter in a basis: Adapter::bind_basis
    meprop = SPEFT_SELECT_MEPROP,
    smallest_magnitude = SPEFT_SELECT_SMALLEST_MAGNITUDE,
    score_function = SPEFT_SELECT_SCORE_FUNCTION
};
enum class Scope : std::int32_t {
    global = SPEFT_SCOPE_GLOBAL,
    per_tensor = SPEFT_SCOPE_PER_TENSOR,
    per_row = SPEFT_SCOPE_PER_ROW
};
enum class Random : std::int32_t { exact = SPEFT_RANDOM_EXACT, bernoulli = SPEFT_RANDOM_BERNOULLI };
enum class Mean : std::int32_t { signed_values = SPEFT_MEAN_SIGNED, absolutes = SPEFT_MEAN_OF_ABSOLUTES };
enum class Schedule : std::int32_t {
    standard = SPEFT_SCHEDULE_DEFAULT,
    linear = SPEFT_SCHEDULE_LINEAR,
    cosine = SPEFT_SCHEDULE_COSINE,
    constant = SPEFT_SCHEDULE_CONSTANT,
    none = SPEFT_SCHEDULE_NONE
};
enum class Drop : std::int32_t { magnitude = SPEFT_DROP_MAGNITUDE, change = SPEFT_DROP_CHANGE };
enum class Optimizer : std::int32_t {
    adamw = SPEFT_OPTIMIZER_ADAMW,
    sgd = SPEFT_OPTIMIZER_SGD,
    sm3 = SPEFT_OPTIMIZER_SM3,
    lion = SPEFT_OPTIMIZER_LION,
    adafactor = SPEFT_OPTIMIZER_ADAFACTOR,
    adam = SPEFT_OPTIMIZER_ADAM
};
enum class Age : std::int32_t { common = SPEFT_AGE_COMMON, per_weight = SPEFT_AGE_PER_WEIGHT };
enum class State : std::int32_t {
    float32 = SPEFT_STATE_FLOAT32,
    bfloat16 = SPEFT_STATE_BFLOAT16,
    blocks8 = SPEFT_STATE_BLOCKS8
};
enum class Decay : std::int32_t {
    original = SPEFT_DECAY_TO_ORIGINAL,
    zero = SPEFT_DECAY_TO_ZERO,
    after = SPEFT_DECAY_AFTER_UPDATE
};
enum class DeltaType : std::int32_t { float32 = SPEFT_DELTA_FLOAT32, bfloat16 = SPEFT_DELTA_BFLOAT16 };
enum class Role : std::int32_t { sparse = SPEFT_ROLE_SPARSE, dense = SPEFT_ROLE_DENSE };
enum class Part : std::int32_t { whole = SPEFT_PART_WHOLE, range = SPEFT_PART_RANGE, block = SPEFT_PART_BLOCK };
enum class Layout : std::int32_t { out_in = SPEFT_LAYOUT_OUT_IN, in_out = SPEFT_LAYOUT_IN_OUT };
enum class Format : std::int32_t { exact = SPEFT_FORMAT_EXACT, compact = SPEFT_FORMAT_COMPACT };
enum class WeightsKind : std::int32_t {
    dense = SPEFT_WEIGHTS_DENSE,
    nf4 = SPEFT_WEIGHTS_NF4,
    fp4 = SPEFT_WEIGHTS_FP4,
    int8 = SPEFT_WEIGHTS_INT8
};
enum class Moved : std::int32_t { dropped = SPEFT_MOVED_DROPPED, grown = SPEFT_MOVED_GROWN };
enum class LogLevel : std::int32_t {
    debug = SPEFT_LOG_DEBUG,
    info = SPEFT_LOG_INFO,
    warning = SPEFT_LOG_WARNING
};
/// Element types of parameters; indices and offsets are int64, quantized codes uint8 or int8.
enum class Dtype : std::int32_t { float32, bfloat16, float16, int64, uint8, int8 };

namespace detail {

template <class Enum>
struct Named {
    Enum value;
    const char *name;
};

template <class Enum>
struct Names;

template <>
struct Names<Method> {
    static constexpr const char *what = "method";
    static constexpr Named<Method> all[] = {
        {Method::random, "random"},
        {Method::magnitude, "magnitude"},
        {Method::gradient, "gradient"},
        {Method::snip, "snip"},
        {Method::mask, "mask"},
        {Method::scores, "scores"},
        {Method::force, "force"},
        {Method::taylor_fo, "taylor-fo"},
        {Method::fisher, "fisher"},
        {Method::synflow, "synflow"},
        {Method::grasp, "grasp"},
        {Method::grasp_code, "grasp-code"},
        {Method::weight_change, "weight-change"},
        {Method::low_rank, "low-rank"},
        {Method::wanda, "wanda"},
        {Method::spiel_ag, "spiel-ag"},
        {Method::spiel_ma, "spiel-ma"},
        {Method::sparsegrad, "sparsegrad"},
        {Method::meprop, "meprop"},
        {Method::smallest_magnitude, "smallest-magnitude"},
        {Method::score_function, "score-function"},
    };
};
template <>
struct Names<Scope> {
    static constexpr const char *what = "scope";
    static constexpr Named<Scope> all[] = {
        {Scope::global, "global"}, {Scope::per_tensor, "per-tensor"}, {Scope::per_row, "per-row"}};
};
template <>
struct Names<Random> {
    static constexpr const char *what = "random";
    static constexpr Named<Random> all[] = {{Random::exact, "exact"}, {Random::bernoulli, "bernoulli"}};
};
template <>
struct Names<Mean> {
    static constexpr const char *what = "mean";
    static constexpr Named<Mean> all[] = {{Mean::signed_values, "signed"}, {Mean::absolutes, "absolute"}};
};
template <>
struct Names<Schedule> {
    static constexpr const char *what = "schedule";
    static constexpr Named<Schedule> all[] = {{Schedule::standard, "default"},
                                              {Schedule::linear, "linear"},
                                              {Schedule::cosine, "cosine"},
                                              {Schedule::constant, "constant"},
                                              {Schedule::none, "none"}};
};
template <>
struct Names<Drop> {
    static constexpr const char *what = "drop";
    static constexpr Named<Drop> all[] = {{Drop::magnitude, "magnitude"}, {Drop::change, "change"}};
};
template <>
struct Names<Optimizer> {
    static constexpr const char *what = "optimizer";
    static constexpr Named<Optimizer> all[] = {{Optimizer::adamw, "adamw"}, {Optimizer::sgd, "sgd"},
                                               {Optimizer::sm3, "sm3"},     {Optimizer::lion, "lion"},
                                               {Optimizer::adafactor, "adafactor"}, {Optimizer::adam, "adam"}};
};
template <>
struct Names<Age> {
    static constexpr const char *what = "age";
    static constexpr Named<Age> all[] = {{Age::common, "common"}, {Age::per_weight, "per-weight"}};
};
template <>
struct Names<State> {
    static constexpr const char *what = "state";
    static constexpr Named<State> all[] = {
        {State::float32, "float32"}, {State::bfloat16, "bfloat16"}, {State::blocks8, "blocks8"}};
};
template <>
struct Names<Decay> {
    static constexpr const char *what = "decay";
    static constexpr Named<Decay> all[] = {
        {Decay::original, "original"}, {Decay::zero, "zero"}, {Decay::after, "after"}};
};
template <>
struct Names<DeltaType> {
    static constexpr const char *what = "delta_type";
    static constexpr Named<DeltaType> all[] = {{DeltaType::float32, "float32"}, {DeltaType::bfloat16, "bfloat16"}};
};
template <>
struct Names<Role> {
    static constexpr const char *what = "role";
    static constexpr Named<Role> all[] = {{Role::sparse, "sparse"}, {Role::dense, "dense"}};
};
template <>
struct Names<Part> {
    static constexpr const char *what = "part";
    static constexpr Named<Part> all[] = {{Part::whole, "whole"}, {Part::range, "range"}, {Part::block, "block"}};
};
template <>
struct Names<Layout> {
    static constexpr const char *what = "layout";
    static constexpr Named<Layout> all[] = {{Layout::out_in, "out_in"}, {Layout::in_out, "in_out"}};
};
template <>
struct Names<Format> {
    static constexpr const char *what = "format";
    static constexpr Named<Format> all[] = {{Format::exact, "exact"}, {Format::compact, "compact"}};
};
template <>
struct Names<WeightsKind> {
    static constexpr const char *what = "kind of weights";
    static constexpr Named<WeightsKind> all[] = {{WeightsKind::dense, "dense"},
                                                 {WeightsKind::nf4, "nf4"},
                                                 {WeightsKind::fp4, "fp4"},
                                                 {WeightsKind::int8, "int8"}};
};
template <>
struct Names<Moved> {
    static constexpr const char *what = "which";
    static constexpr Named<Moved> all[] = {{Moved::dropped, "dropped"}, {Moved::grown, "grown"}};
};
template <>
struct Names<LogLevel> {
    static constexpr const char *what = "level";
    static constexpr Named<LogLevel> all[] = {
        {LogLevel::debug, "debug"}, {LogLevel::info, "info"}, {LogLevel::warning, "warning"}};
};
template <>
struct Names<Dtype> {
    static constexpr const char *what = "dtype";
    static constexpr Named<Dtype> all[] = {{Dtype::float32, "float32"},
                                           {Dtype::bfloat16, "bfloat16"},
                                           {Dtype::float16, "float16"},
                                           {Dtype::int64, "int64"},
                                           {Dtype::uint8, "uint8"},
                                           {Dtype::int8, "int8"}};
};

}  // namespace detail

/// The enumerator of this name, "taylor-fo" say; invalid_argument with the names there are for any other.
template <class Enum>
Enum from_name(std::string_view text) {
    std::string names;
    for (const auto &named : detail::Names<Enum>::all) {
        if (text == named.name) return named.value;
        names += (names.empty() ? "" : ", ") + std::string(named.name);
    }
    throw invalid_argument(std::string(detail::Names<Enum>::what) + " must be one of " + names + "; got '" +
                           std::string(text) + "'");
}

/// The name of an enumerator, static; "unknown" for a number that this header does not know.
template <class Enum, std::enable_if_t<std::is_enum_v<Enum>, int> = 0>
const char *name(Enum value) {
    for (const auto &named : detail::Names<Enum>::all)
        if (named.value == value) return named.name;
    return "unknown";
}

// ---- memory of the host ----

/// Contiguous values that somebody else owns. Anything with data() and size() converts to it.
template <class T>
class span {
public:
    constexpr span() noexcept = default;
    constexpr span(T *data, std::size_t size) noexcept : data_(data), size_(size) {}
    template <class Container,
              std::enable_if_t<
                  std::is_convertible_v<std::remove_pointer_t<decltype(std::declval<Container &>().data())> (*)[],
                                        T (*)[]>,
                  int> = 0>
    constexpr span(Container &&container) noexcept : data_(container.data()), size_(container.size()) {}

    constexpr T *data() const noexcept { return data_; }
    constexpr std::size_t size() const noexcept { return size_; }
    constexpr bool empty() const noexcept { return size_ == 0; }
    constexpr T &operator[](std::size_t index) const { return data_[index]; }
    constexpr T *begin() const noexcept { return data_; }
    constexpr T *end() const noexcept { return data_ + size_; }

private:
    T *data_ = nullptr;
    std::size_t size_ = 0;
};

/// The bits of a 16-bit float: a name for memory, without arithmetic.
struct bfloat16 {
    std::uint16_t bits;
};
struct float16 {
    std::uint16_t bits;
};

using Shape = std::vector<std::int64_t>;

namespace detail {

template <class T>
struct DtypeOf;
template <>
struct DtypeOf<float> : std::integral_constant<Dtype, Dtype::float32> {};
template <>
struct DtypeOf<bfloat16> : std::integral_constant<Dtype, Dtype::bfloat16> {};
template <>
struct DtypeOf<float16> : std::integral_constant<Dtype, Dtype::float16> {};
template <>
struct DtypeOf<std::int64_t> : std::integral_constant<Dtype, Dtype::int64> {};
template <>
struct DtypeOf<std::uint8_t> : std::integral_constant<Dtype, Dtype::uint8> {};
template <>
struct DtypeOf<std::int8_t> : std::integral_constant<Dtype, Dtype::int8> {};

template <class T>
inline constexpr Dtype dtype_of = DtypeOf<std::remove_const_t<T>>::value;

// For overloads that take element types alone.
template <class T>
using if_element_t = decltype(DtypeOf<std::remove_const_t<T>>::value);

inline speft_dtype to_native(Dtype dtype) {
    switch (dtype) {
        case Dtype::float32: return {SPEFT_CODE_FLOAT, 32, 1};
        case Dtype::bfloat16: return {SPEFT_CODE_BFLOAT, 16, 1};
        case Dtype::float16: return {SPEFT_CODE_FLOAT, 16, 1};
        case Dtype::int64: return {SPEFT_CODE_INT, 64, 1};
        case Dtype::uint8: return {SPEFT_CODE_UINT, 8, 1};
        case Dtype::int8: return {SPEFT_CODE_INT, 8, 1};
    }
    throw invalid_argument("dtype must be one of Dtype's; got " + std::to_string(static_cast<std::int32_t>(dtype)));
}

inline std::optional<Dtype> from_native(speft_dtype native) {
    for (const auto &named : Names<Dtype>::all) {
        const speft_dtype known = to_native(named.value);
        if (native.code == known.code && native.bits == known.bits && native.lanes == known.lanes) return named.value;
    }
    return std::nullopt;
}

// What data() of a container points to.
template <class Container>
using element_t = std::remove_pointer_t<decltype(std::declval<Container &>().data())>;

}  // namespace detail

/// Memory to be read: a pointer, an element type, a shape; row-major on the CPU unless it says otherwise. It owns the
/// shape, not the memory.
class TensorView {
public:
    /// `Element` is float, bfloat16, float16, std::int64_t, std::uint8_t or std::int8_t.
    template <class Element, class = detail::if_element_t<Element>>
    TensorView(const Element *data, Shape shape)
        : TensorView(const_cast<Element *>(data), detail::to_native(detail::dtype_of<Element>), std::move(shape)) {}
    /// One axis, as long as the container.
    template <class Container, class Element = detail::element_t<const Container>,
              class = detail::if_element_t<Element>>
    TensorView(const Container &container)
        : TensorView(container.data(), {static_cast<std::int64_t>(container.size())}) {}
    /// Any memory: other element types, a CUDA device, a 16-bit buffer under a type of its own.
    TensorView(const void *data, Dtype dtype, Shape shape, speft_device device = {SPEFT_DEVICE_CPU, 0})
        : TensorView(const_cast<void *>(data), detail::to_native(dtype), std::move(shape), device) {}
    /// What another framework hands out: DLPack's DLTensor has this layout. Its shape and strides are copied.
    explicit TensorView(const speft_tensor &tensor)
        : data_(tensor.data), dtype_(tensor.dtype), device_(tensor.device), byte_offset_(tensor.byte_offset),
          shape_(tensor.shape, tensor.shape + tensor.ndim) {
        if (tensor.strides) strides_.assign(tensor.strides, tensor.strides + tensor.ndim);
    }

    const Shape &shape() const noexcept { return shape_; }
    speft_device device() const noexcept { return device_; }
    /// Empty for an element type that this header has no name for.
    std::optional<Dtype> dtype() const { return detail::from_native(dtype_); }
    std::int64_t size() const {
        std::int64_t scalars = 1;
        for (const std::int64_t extent : shape_) scalars *= extent;
        return scalars;
    }

    /// The values, in memory that the program can reach; invalid_argument when they are not of this type.
    template <class Element>
    span<const Element> values() const {
        return {static_cast<const Element *>(address_of(detail::dtype_of<Element>)), static_cast<std::size_t>(size())};
    }

    /// What the C functions take: points into this object.
    speft_tensor native() const {
        return {data_, device_, static_cast<std::int32_t>(shape_.size()), dtype_,
                const_cast<std::int64_t *>(shape_.data()),
                strides_.empty() ? nullptr : const_cast<std::int64_t *>(strides_.data()), byte_offset_};
    }

protected:
    TensorView(void *data, speft_dtype dtype, Shape shape, speft_device device = {SPEFT_DEVICE_CPU, 0})
        : data_(data), dtype_(dtype), device_(device), shape_(std::move(shape)) {}

    void *address_of(Dtype wanted) const {
        if (dtype() != wanted)
            throw invalid_argument(std::string("values are not of type ") + name(wanted) + " but " +
                                   (dtype() ? name(*dtype()) : "another one"));
        return static_cast<char *>(data_) + byte_offset_;
    }

private:
    void *data_;
    speft_dtype dtype_;
    speft_device device_;
    std::uint64_t byte_offset_ = 0;
    Shape shape_;
    Shape strides_;  // empty: row-major, as everything of no axes is
};

/// Memory to be read and written. It cannot be made of `const` memory.
class MutableTensorView : public TensorView {
public:
    template <class Element, class = detail::if_element_t<Element>,
              std::enable_if_t<!std::is_const_v<Element>, int> = 0>
    MutableTensorView(Element *data, Shape shape)
        : TensorView(data, detail::to_native(detail::dtype_of<Element>), std::move(shape)) {}
    template <class Container, class Element = detail::element_t<Container>,
              class = detail::if_element_t<Element>, std::enable_if_t<!std::is_const_v<Element>, int> = 0>
    MutableTensorView(Container &container)
        : MutableTensorView(container.data(), {static_cast<std::int64_t>(container.size())}) {}
    MutableTensorView(void *data, Dtype dtype, Shape shape, speft_device device = {SPEFT_DEVICE_CPU, 0})
        : TensorView(data, detail::to_native(dtype), std::move(shape), device) {}
    explicit MutableTensorView(const speft_tensor &tensor) : TensorView(tensor) {}

    template <class Element>
    span<Element> values() const {
        return {static_cast<Element *>(address_of(detail::dtype_of<Element>)), static_cast<std::size_t>(size())};
    }
};

/// A container's memory in a shape; invalid_argument unless it has as many elements. Writable where the container is.
template <class Container>
auto view(Container &container, Shape shape) {
    using Element = detail::element_t<Container>;
    std::conditional_t<std::is_const_v<Element>, TensorView, MutableTensorView> made(container.data(),
                                                                                    std::move(shape));
    if (made.size() != static_cast<std::int64_t>(container.size()))
        throw invalid_argument("shape must have as many scalars as the container, " +
                               std::to_string(container.size()) + "; got " + std::to_string(made.size()));
    return made;
}

// ---- callbacks ----

/// Long work calls it with (done, total), in units of the work; true cancels.
using Progress = std::function<bool(std::int64_t done, std::int64_t total)>;

/// Takes a file's bytes in order, in pieces of any size.
using Writer = std::function<void(span<const std::byte> bytes)>;

/// Scores of the program's own, for Method::score_function: called once for each sparse parameter. `gradient` is the
/// mean of what was observed, or NULL; `scores`, of the parameter's shape, is to be filled. All but the weights are
/// float32.
using ScoreFunction = std::function<void(std::int64_t parameter, const TensorView &weights,
                                         const TensorView *gradient, const MutableTensorView &scores)>;

/// Device memory from the program's own pool. `allocate` returns NULL when there is none.
struct Allocator {
    std::function<void *(std::uint64_t bytes, std::uint64_t alignment, void *stream)> allocate;
    std::function<void(void *memory, std::uint64_t bytes, void *stream)> deallocate;
};

struct Logger {
    LogLevel level = LogLevel::info;
    std::function<void(LogLevel level, std::string_view message)> log;
};

/// The program's own threads: `run` calls body(i) once for each i in [0, count), side by side or not, and returns when
/// all are done.
struct ParallelFor {
    std::int32_t threads = 1;
    std::function<void(std::int64_t count, const std::function<void(std::int64_t index)> &body)> run;
};

/// How several processes talk: communicator.h. A size above 1 is unsupported in this version.
struct Communicator {
    std::int32_t rank = 0;
    std::int32_t size = 1;
    std::function<void(const MutableTensorView &values, void *stream)> all_reduce;
    std::function<void(const TensorView &part, const MutableTensorView &all, void *stream)> all_gather;
    std::function<void(const MutableTensorView &values, std::int32_t root, void *stream)> broadcast;
};

namespace detail {

// Runs a callback for C: 0, or `failed` with the exception kept for the call's end.
template <class Function>
std::int32_t guard(Function &&function, std::int32_t failed = 1) noexcept {
    try {
        return function();
    } catch (...) {
        Call::keep_exception();
        return failed;
    }
}

// The C struct of a progress callback, NULL where there is none. It must not outlive `progress`.
class NativeProgress {
public:
    explicit NativeProgress(const Progress &progress) : native_(make<speft_progress>()), given_(bool(progress)) {
        native_.user = const_cast<Progress *>(&progress);
        native_.report = [](void *user, std::int64_t done, std::int64_t total) {
            return guard([&]() -> std::int32_t { return (*static_cast<const Progress *>(user))(done, total); });
        };
    }
    const speft_progress *get() const { return given_ ? &native_ : nullptr; }

private:
    speft_progress native_;
    bool given_;
};

inline speft_writer make_writer(const Writer &writer) {
    speft_writer native = make<speft_writer>();
    native.user = const_cast<Writer *>(&writer);
    native.write = [](void *user, const void *bytes, std::uint64_t count) {
        return guard(
            [&]() -> std::int32_t {
                (*static_cast<const Writer *>(user))(
                    {static_cast<const std::byte *>(bytes), static_cast<std::size_t>(count)});
                return 0;
            },
            EIO);
    };
    return native;
}

inline speft_score_function make_score_function(const ScoreFunction *score) {
    speft_score_function native = make<speft_score_function>();
    native.user = const_cast<ScoreFunction *>(score);
    native.compute = [](void *user, std::int64_t parameter, const speft_tensor *weights, const speft_tensor *gradient,
                        const speft_tensor *scores) {
        return guard([&]() -> std::int32_t {
            std::optional<TensorView> mean;
            if (gradient) mean.emplace(*gradient);
            (*static_cast<const ScoreFunction *>(user))(parameter, TensorView(*weights), mean ? &*mean : nullptr,
                                                        MutableTensorView(*scores));
            return 0;
        });
    };
    return native;
}

template <class Callback>
void release_callback(void *user) {
    delete static_cast<Callback *>(user);
}

inline speft_allocator make_allocator(Allocator *allocator) {
    speft_allocator native = make<speft_allocator>();
    native.user = allocator;
    native.allocate = [](void *user, std::uint64_t bytes, std::uint64_t alignment, void *stream) -> void * {
        void *memory = nullptr;
        guard([&] {
            memory = static_cast<Allocator *>(user)->allocate(bytes, alignment, stream);
            return 0;
        });
        return memory;
    };
    native.deallocate = [](void *user, void *memory, std::uint64_t bytes, void *stream) noexcept {
        static_cast<Allocator *>(user)->deallocate(memory, bytes, stream);
    };
    if (!allocator->allocate) native.allocate = nullptr;  // which the library refuses by name
    if (!allocator->deallocate) native.deallocate = nullptr;
    native.release = release_callback<Allocator>;
    return native;
}

inline speft_logger make_logger(Logger *logger) {
    speft_logger native = make<speft_logger>();
    native.level = static_cast<std::int32_t>(logger->level);
    native.user = logger;
    native.log = [](void *user, std::int32_t level, const char *message) {
        guard([&] {
            static_cast<Logger *>(user)->log(static_cast<LogLevel>(level), message);
            return 0;
        });
    };
    if (!logger->log) native.log = nullptr;
    native.release = release_callback<Logger>;
    return native;
}

inline speft_parallel_for make_parallel_for(ParallelFor *loop) {
    speft_parallel_for native = make<speft_parallel_for>();
    native.threads = loop->threads;
    native.user = loop;
    // Bodies that have not run cannot be told to the library: an exception ends the program here.
    native.run = [](void *user, std::int64_t count, void (*body)(void *, std::int64_t), void *argument) noexcept {
        static_cast<ParallelFor *>(user)->run(count, [=](std::int64_t index) { body(argument, index); });
    };
    if (!loop->run) native.run = nullptr;
    native.release = release_callback<ParallelFor>;
    return native;
}

inline speft_communicator make_communicator(const Communicator *communicator) {
    speft_communicator native = make<speft_communicator>();
    native.rank = communicator->rank;
    native.size = communicator->size;
    native.user = const_cast<Communicator *>(communicator);
    native.all_reduce = [](void *user, speft_tensor *values, void *stream) {
        return guard([&]() -> std::int32_t {
            static_cast<const Communicator *>(user)->all_reduce(MutableTensorView(*values), stream);
            return 0;
        });
    };
    native.all_gather = [](void *user, const speft_tensor *part, speft_tensor *all, void *stream) {
        return guard([&]() -> std::int32_t {
            static_cast<const Communicator *>(user)->all_gather(TensorView(*part), MutableTensorView(*all), stream);
            return 0;
        });
    };
    native.broadcast = [](void *user, speft_tensor *values, std::int32_t root, void *stream) {
        return guard([&]() -> std::int32_t {
            static_cast<const Communicator *>(user)->broadcast(MutableTensorView(*values), root, stream);
            return 0;
        });
    };
    return native;
}

}  // namespace detail

// ---- options ----

/// context.h: speft_context_options.
struct ContextOptions {
    std::int32_t threads = 0;  ///< 0: as many as this process may run on
    std::string backend = "auto";
    std::int32_t device = 0;
    void *stream = nullptr;
    std::optional<Allocator> allocator = {};
    std::optional<Logger> logger = {};
    std::optional<ParallelFor> parallel_for = {};
    std::string backend_path = {};  ///< a folder to look for backends in first
};

/// adapter.h: speft_parameter.
struct Parameter {
    std::string name = {};
    Shape shape = {};
    Dtype dtype = Dtype::float32;
    Role role = Role::sparse;
    std::int32_t group = 0;
    Part part = Part::whole;
    Shape offset = {};  ///< of a part; empty for the whole
    Shape extent = {};
};

/// selection.h: speft_schedule_options. 0 stands for the default that is written there. SparseGrad and MeProp take
/// Schedule::none, settled_limit and track_moves alone.
struct ScheduleOptions {
    Schedule schedule = Schedule::standard;
    std::int64_t total_steps = 0;
    std::int64_t reselect_every = 0;
    std::int64_t window = 0;
    double rate = 0;
    std::int64_t candidates = 0;
    Drop drop = Drop::magnitude;
    bool keep_moments = false;
    std::int64_t settled_limit = 0;
    bool track_moves = false;
};

/// selection.h: speft_selection_options. Exactly one of density, budget and rank is set, but for given masks.
struct SelectionOptions {
    Method method = Method::gradient;
    Scope scope = Scope::global;
    Random random = Random::exact;
    double density = 0;
    std::int64_t budget = 0;
    std::uint64_t seed = 0;
    std::optional<ScheduleOptions> schedule = {};
    std::int64_t rank = 0;
    std::int64_t model_scalars = 0;
    std::int64_t approximation_rank = 0;
    ScoreFunction score = {};  ///< of Method::score_function; kept by the adapter
    Mean mean = Mean::signed_values;
    double threshold = 0;  ///< where each step selects: of its k largest |g| those of at least this size
};

/// optimizer.h: speft_optimizer_options.
struct OptimizerOptions {
    Optimizer kind = Optimizer::adamw;
    Age age = Age::common;
    State state = State::float32;
};

/// adapter.h: speft_adapter_options.
struct AdapterOptions {
    SelectionOptions selection = {};
    std::optional<OptimizerOptions> optimizer = {};  ///< without it AdamW, or SM3 where the selection is SpIEL-MA
    DeltaType delta_type = DeltaType::float32;
    std::optional<Communicator> communicator = {};
};

/// optimizer.h: speft_hyperparameters.
struct Hyperparameters {
    double learning_rate = 1e-3;
    double beta1 = 0.9;
    double beta2 = 0.999;
    double epsilon = 1e-8;
    double weight_decay = 0;
    Decay decay = Decay::original;
    double momentum = 0;
};

/// training.h: speft_step_options.
struct StepOptions {
    std::vector<Hyperparameters> groups = {};  ///< one for each Parameter::group; none: the defaults for all
    bool keep_gradient = false;
    bool allow_missing = false;
    double gradient_scale = 1;            ///< not 0
    std::optional<TensorView> control = {};    ///< unsupported in this version
};

/// storage.h: speft_save_options.
struct SaveOptions {
    Format format = Format::exact;
    Progress progress = {};
};

/// storage.h: speft_load_options.
struct LoadOptions {
    Progress progress = {};
    ScoreFunction score = {};  ///< of a checkpoint whose masks move by one; kept by the adapter
};

/// linear.h: speft_linear_options.
struct LinearOptions {
    Layout layout = Layout::out_in;
    bool delta_only = false;  ///< Δ in place of W + Δ, for programs with a product of their own
    bool accumulate = false;  ///< added to what the output holds
};

/// basis.h: speft_basis_options. The matrices' shape, and how many rows V and U have; 0: all.
struct BasisOptions {
    std::int64_t rows = 0;
    std::int64_t columns = 0;
    std::int64_t row_directions = 0;
    std::int64_t column_directions = 0;
};

/// A basis that a memory plan takes these parameters to share.
struct PlannedBasis {
    BasisOptions options;
    std::vector<std::int64_t> parameters;
};

/// weights.h: codes of quantized weights and how they turn into numbers.
struct QuantizedWeights {
    WeightsKind kind;
    MutableTensorView codes;  ///< uint8 [ceil(N / 2)]; of int8 weights int8, in their shape
    std::int32_t block;       ///< scalars that share one scale; of int8 weights 0
    MutableTensorView absmax;
    std::optional<TensorView> levels = {};  ///< empty: the kind's own table
    std::optional<MutableTensorView> absmax_absmax = {};  ///< with the offset and the block: of uint8 absmax
    std::optional<TensorView> absmax_levels = {};         ///< empty: bitsandbytes' dynamic map
    std::optional<MutableTensorView> absmax_offset = {};
    std::int32_t absmax_block = 0;
};

/// gradient.h: one contribution to a parameter's gradient, of memory that is free again when the call returns.
class Gradient {
public:
    /// dL/dW, of the parameter's shape.
    static Gradient dense(TensorView values, double scale = 1) {
        Gradient gradient(SPEFT_GRADIENT_DENSE, scale);
        gradient.values_.emplace(std::move(values));
        return gradient;
    }
    /// dL/dW at the mask, [k].
    static Gradient values(TensorView values, double scale = 1) {
        Gradient gradient(SPEFT_GRADIENT_VALUES, scale);
        gradient.values_.emplace(std::move(values));
        return gradient;
    }
    /// x [tokens, in] and dy [tokens, out] of a linear layer. No dense dL/dW is formed after the selection.
    static Gradient activations(TensorView x, TensorView dy, Layout layout = Layout::out_in, double scale = 1) {
        Gradient gradient = inputs(std::move(x), layout, scale);
        gradient.dy_.emplace(std::move(dy));
        return gradient;
    }
    /// x alone, where dy is not needed: Wanda.
    static Gradient inputs(TensorView x, Layout layout = Layout::out_in, double scale = 1) {
        Gradient gradient(SPEFT_GRADIENT_ACTIVATIONS, scale);
        gradient.x_.emplace(std::move(x));
        gradient.layout_ = layout;
        return gradient;
    }
    /// For Fisher scores: int64 [examples + 1], the first token of each example, and the number of tokens at the end.
    Gradient with_examples(TensorView offsets) const {
        Gradient gradient = *this;
        gradient.offsets_.emplace(std::move(offsets));
        return gradient;
    }

    /// Calls `use` with the C struct, which is gone when it returns.
    template <class Use>
    void lend(Use &&use) const {
        speft_gradient native = detail::make<speft_gradient>();
        native.kind = kind_;
        native.scale = scale_;
        native.layout = static_cast<std::int32_t>(layout_);
        speft_tensor tensors[4];
        const auto lower = [](const std::optional<TensorView> &view, speft_tensor &tensor) -> const speft_tensor * {
            if (!view) return nullptr;
            tensor = view->native();
            return &tensor;
        };
        (kind_ == SPEFT_GRADIENT_DENSE ? native.dense : native.values) = lower(values_, tensors[0]);
        native.x = lower(x_, tensors[1]);
        native.dy = lower(dy_, tensors[2]);
        native.example_offsets = lower(offsets_, tensors[3]);
        use(&native);
    }

private:
    Gradient(std::int32_t kind, double scale) : kind_(kind), scale_(scale) {
        if (scale == 0) throw invalid_argument("scale must not be 0");  // which stands for 1 in C
    }

    std::int32_t kind_;
    double scale_;
    Layout layout_ = Layout::out_in;
    std::optional<TensorView> values_, x_, dy_, offsets_;
};

// ---- what calls tell ----

/// adapter.h: speft_adapter_state.
struct AdapterState {
    bool selected = false;
    bool merged = false;    ///< all that was learned is in the weights
    bool attached = false;  ///< steps can be taken: as merged, unless parameters are in a basis or quantized
    Method method = Method::gradient;
    std::int64_t steps = 0;
    std::int64_t observations = 0;
    std::int64_t selected_scalars = 0;
    std::int64_t trained_scalars = 0;
    std::int64_t targeted_scalars = 0;
    std::int64_t settled_scalars = 0;
    std::optional<std::int64_t> next_reselection;  ///< empty where masks do not move any more
    bool reselection_due = false;
};

/// basis.h: speft_basis_state. What follows `observations` is 0 until it is fitted.
struct BasisState {
    bool fitted = false;  ///< and nothing was observed since
    std::int64_t observations = 0;
    std::int64_t row_directions = 0;  ///< that the gradients span, kept or not
    std::int64_t column_directions = 0;
    double row_share = 0;  ///< of Σ dW², what the rows of V hold
    double column_share = 0;
};

/// selection.h: speft_reselection.
struct Reselection {
    std::int64_t step = 0;
    std::int64_t dropped = 0;
    std::int64_t grown = 0;
    std::int64_t settled = 0;
};

/// merge.h: speft_requantization. What quantizing anew has left of the deltas.
struct Requantization {
    std::int64_t deltas = 0;
    std::int64_t changed = 0;   ///< of those, how many have got another code
    double relative_error = 0;  ///< over the blocks that were quantized anew
};

/// memory.h: speft_memory_plan, in bytes of the context's device.
struct MemoryPlan {
    std::uint64_t observation = 0;
    std::uint64_t announced_observation = 0;
    std::uint64_t selection = 0;
    std::uint64_t training = 0;
    std::uint64_t reselection = 0;
    std::uint64_t fitting = 0;
    std::uint64_t products = 0;
    std::uint64_t merging = 0;
};

/// context.h: speft_backend_info.
struct BackendInfo {
    bool available = false;
    std::string name;
    std::string version;
    std::string reason;
};

namespace detail {

// The C structs of an adapter's options, which point to each other and to what they were made of.
class NativeAdapterOptions {
public:
    explicit NativeAdapterOptions(const AdapterOptions &options)
        : native_(make(speft_adapter_options_init)), selection_(make(speft_selection_options_init)),
          schedule_(make(speft_schedule_options_init)), optimizer_(make(speft_optimizer_options_init)) {
        const SelectionOptions &selection = options.selection;
        selection_.method = static_cast<std::int32_t>(selection.method);
        selection_.scope = static_cast<std::int32_t>(selection.scope);
        selection_.random = static_cast<std::int32_t>(selection.random);
        selection_.density = selection.density;
        selection_.budget = selection.budget;
        selection_.seed = selection.seed;
        selection_.rank = selection.rank;
        selection_.model_scalars = selection.model_scalars;
        selection_.approximation_rank = selection.approximation_rank;
        selection_.mean = static_cast<std::int32_t>(selection.mean);
        selection_.threshold = selection.threshold;
        if (selection.score) {
            score_ = make_score_function(&selection.score);
            selection_.score = &score_;
        }
        if (selection.schedule) {
            const ScheduleOptions &schedule = *selection.schedule;
            schedule_.schedule = static_cast<std::int32_t>(schedule.schedule);
            schedule_.total_steps = schedule.total_steps;
            schedule_.reselect_every = schedule.reselect_every;
            schedule_.window = schedule.window;
            schedule_.rate = schedule.rate;
            schedule_.candidates = schedule.candidates;
            schedule_.drop = static_cast<std::int32_t>(schedule.drop);
            schedule_.keep_moments = schedule.keep_moments;
            schedule_.settled_limit = schedule.settled_limit;
            schedule_.track_moves = schedule.track_moves;
            selection_.schedule = &schedule_;
        }
        native_.selection = &selection_;
        if (options.optimizer) {
            optimizer_.kind = static_cast<std::int32_t>(options.optimizer->kind);
            optimizer_.age = static_cast<std::int32_t>(options.optimizer->age);
            optimizer_.state = static_cast<std::int32_t>(options.optimizer->state);
            native_.optimizer = &optimizer_;
        }
        native_.delta_type = static_cast<std::int32_t>(options.delta_type);
        if (options.communicator) {
            communicator_ = make_communicator(&*options.communicator);
            native_.communicator = &communicator_;
        }
    }
    NativeAdapterOptions(const NativeAdapterOptions &) = delete;
    NativeAdapterOptions &operator=(const NativeAdapterOptions &) = delete;

    const speft_adapter_options *get() const { return &native_; }

private:
    speft_adapter_options native_;
    speft_selection_options selection_;
    speft_schedule_options schedule_;
    speft_optimizer_options optimizer_;
    speft_score_function score_;
    speft_communicator communicator_;
};

inline speft_basis_options to_native(const BasisOptions &options) {
    speft_basis_options native = make(speft_basis_options_init);
    native.rows = options.rows;
    native.columns = options.columns;
    native.row_directions = options.row_directions;
    native.column_directions = options.column_directions;
    return native;
}

// For each of so many parameters its basis, or NULL.
class NativeBases {
public:
    NativeBases(const std::vector<PlannedBasis> &bases, std::size_t count) : pointers_(bases.empty() ? 0 : count) {
        natives_.reserve(bases.size());
        for (const PlannedBasis &basis : bases) {
            natives_.push_back(to_native(basis.options));
            for (const std::int64_t parameter : basis.parameters) {
                if (parameter < 0 || static_cast<std::size_t>(parameter) >= count)
                    throw invalid_argument("bases: there is no parameter " + std::to_string(parameter));
                const speft_basis_options *&pointer = pointers_[static_cast<std::size_t>(parameter)];
                if (pointer) throw invalid_argument("bases: parameter " + std::to_string(parameter) + " has two");
                pointer = &natives_.back();
            }
        }
    }
    NativeBases(const NativeBases &) = delete;
    NativeBases &operator=(const NativeBases &) = delete;

    const speft_basis_options *const *data() const { return pointers_.empty() ? nullptr : pointers_.data(); }

private:
    std::vector<speft_basis_options> natives_;
    std::vector<const speft_basis_options *> pointers_;
};

class NativeParameters {
public:
    explicit NativeParameters(const std::vector<Parameter> &parameters) {
        natives_.reserve(parameters.size());
        for (const Parameter &parameter : parameters) {
            speft_parameter native = make(speft_parameter_init);
            if (parameter.name.find('\0') != std::string::npos)
                throw invalid_argument("parameter name must not contain a zero byte");
            native.name = parameter.name.c_str();
            native.shape = parameter.shape.data();
            native.ndim = static_cast<std::int32_t>(parameter.shape.size());
            native.dtype = to_native(parameter.dtype);
            native.role = static_cast<std::int32_t>(parameter.role);
            native.group = parameter.group;
            native.part = static_cast<std::int32_t>(parameter.part);
            native.offset = parameter.offset.empty() ? nullptr : parameter.offset.data();
            native.extent = parameter.extent.empty() ? nullptr : parameter.extent.data();
            natives_.push_back(native);
        }
        for (const speft_parameter &native : natives_) pointers_.push_back(&native);
    }
    NativeParameters(const NativeParameters &) = delete;
    NativeParameters &operator=(const NativeParameters &) = delete;

    const speft_parameter *const *data() const { return pointers_.data(); }
    std::int64_t count() const { return static_cast<std::int64_t>(pointers_.size()); }

private:
    std::vector<speft_parameter> natives_;
    std::vector<const speft_parameter *> pointers_;
};

inline speft_linear_options to_native(const LinearOptions &options) {
    auto native = make(speft_linear_options_init);
    native.layout = static_cast<std::int32_t>(options.layout);
    native.delta_only = options.delta_only;
    native.accumulate = options.accumulate;
    return native;
}

// The C structs of weights, dense or quantized, which point to each other.
class NativeWeights {
public:
    explicit NativeWeights(const MutableTensorView &dense)
        : native_(make<speft_weights>()), data_(dense.native()) {
        native_.kind = SPEFT_WEIGHTS_DENSE;
        native_.data = &data_;
    }
    explicit NativeWeights(const QuantizedWeights &weights)
        : native_(make<speft_weights>()), data_(weights.codes.native()),
          quantization_(make<speft_quantization>()), absmax_(weights.absmax.native()) {
        native_.kind = static_cast<std::int32_t>(weights.kind);
        native_.data = &data_;
        native_.quantization = &quantization_;
        quantization_.block = weights.block;
        quantization_.absmax = &absmax_;
        quantization_.absmax_block = weights.absmax_block;
        lower(weights.levels, levels_, quantization_.levels);
        lower(weights.absmax_absmax, absmax_absmax_, quantization_.absmax_absmax);
        lower(weights.absmax_levels, absmax_levels_, quantization_.absmax_levels);
        lower(weights.absmax_offset, absmax_offset_, quantization_.absmax_offset);
    }
    NativeWeights(const NativeWeights &) = delete;
    NativeWeights &operator=(const NativeWeights &) = delete;

    const speft_weights *get() const { return &native_; }

private:
    template <class View>
    static void lower(const std::optional<View> &view, speft_tensor &tensor, const speft_tensor *&field) {
        if (!view) return;
        tensor = view->native();
        field = &tensor;
    }

    speft_weights native_;
    speft_tensor data_;
    speft_quantization quantization_{};
    speft_tensor absmax_{}, levels_{}, absmax_absmax_{}, absmax_levels_{}, absmax_offset_{};
};

template <class Handle, void (*destroy)(Handle *)>
struct Destroy {
    void operator()(Handle *handle) const noexcept { destroy(handle); }
};

}  // namespace detail

// ---- the library ----

/// The release, "0.1.0" say, and the number of the binary interface, both of the library that runs.
inline std::string version() { return speft_version(); }
inline std::uint32_t abi_version() { return speft_abi_version(); }

/// Every backend that the library knows of, present or not, and why not.
inline std::vector<BackendInfo> backends() {
    std::vector<BackendInfo> found;
    const std::int32_t count = speft_count_backends();
    for (std::int32_t index = 0; index < count; ++index) {
        auto info = detail::make<speft_backend_info>();
        detail::call(speft_describe_backend, index, &info);
        found.push_back({info.available != 0, info.name, info.version, info.reason});
    }
    return found;
}

/// The names of the operations that backends have, for Context::implementation.
inline std::vector<std::string> operations() {
    std::vector<std::string> names;
    for (std::int32_t index = 0; const char *found = speft_get_operation_name(index); ++index) names.push_back(found);
    return names;
}

// ---- contexts ----

/// context.h: one device, its stream, threads, allocator and log. Adapters keep what they need of it alive.
class Context {
public:
    /// An empty one, to be assigned to.
    Context() = default;
    explicit Context(const ContextOptions &options) {
        auto native = detail::make(speft_context_options_init);
        native.threads = options.threads;
        native.backend = options.backend.empty() ? nullptr : options.backend.c_str();
        native.device = options.device;
        native.stream = options.stream;
        native.backend_path = options.backend_path.empty() ? nullptr : options.backend_path.c_str();
        std::unique_ptr<Allocator> allocator;
        std::unique_ptr<Logger> logger;
        std::unique_ptr<ParallelFor> loop;
        speft_allocator native_allocator;
        speft_logger native_logger;
        speft_parallel_for native_loop;
        if (options.allocator) {
            allocator = std::make_unique<Allocator>(*options.allocator);
            native_allocator = detail::make_allocator(allocator.get());
            native.allocator = &native_allocator;
        }
        if (options.logger) {
            logger = std::make_unique<Logger>(*options.logger);
            native_logger = detail::make_logger(logger.get());
            native.logger = &native_logger;
        }
        if (options.parallel_for) {
            loop = std::make_unique<ParallelFor>(*options.parallel_for);
            native_loop = detail::make_parallel_for(loop.get());
            native.parallel_for = &native_loop;
        }
        speft_context *created = nullptr;
        detail::Call scope;
        speft_error *failure = nullptr;
        if (speft_create_context(&native, &created, &failure) == SPEFT_OK) {  // their `release` deletes them now
            handle_.reset(created);
            allocator.release();
            logger.release();
            loop.release();
        }
        scope.finish(failure);
    }

    explicit operator bool() const noexcept { return handle_ != nullptr; }
    /// Drops the handle now; adapters live on. Twice is fine.
    void close() noexcept { handle_.reset(); }

    /// Waits until all that was enqueued has run. At once on the CPU.
    void synchronize() { detail::call(speft_synchronize, handle_.get()); }
    void set_stream(void *stream) { detail::call(speft_set_stream, handle_.get(), stream); }
    /// "cpu" say; invalid_argument for an empty context.
    std::string backend() const {
        const char *found = speft_get_context_backend(handle_.get());
        if (!found) throw invalid_argument("context must not be empty");
        return found;
    }

    /// Which implementation ran `operation` last; empty when it has not run.
    std::optional<std::string> implementation(const std::string &operation) {
        const char *found = nullptr;
        detail::call(speft_get_implementation, handle_.get(), operation.c_str(), &found);
        return found ? std::optional<std::string>(found) : std::nullopt;
    }
    /// Runs `operation` with this implementation alone; without one, chooses again.
    void set_implementation(const std::string &operation, const std::optional<std::string> &implementation) {
        detail::call(speft_set_implementation, handle_.get(), operation.c_str(),
                     implementation ? implementation->c_str() : nullptr);
    }
    /// All implementations of `operation`, the fastest first.
    std::vector<std::string> implementations(const std::string &operation) {
        std::vector<std::string> names;
        for (std::int32_t index = 0;; ++index) {
            const char *found = nullptr;
            detail::call(speft_get_implementation_name, handle_.get(), operation.c_str(), index, &found);
            if (!found) return names;
            names.push_back(found);
        }
    }

    /// What an adapter will take, before it is created. `tokens` is the most that one gradient from activations will
    /// have; 0: any number. `bases`: of sparsegrad.
    MemoryPlan plan_memory(const std::vector<Parameter> &parameters, const AdapterOptions &options,
                           std::int64_t tokens = 0, const std::vector<PlannedBasis> &bases = {}) {
        const detail::NativeAdapterOptions native(options);
        const detail::NativeParameters natives(parameters);
        const detail::NativeBases planned(bases, parameters.size());
        auto plan = detail::make<speft_memory_plan>();
        plan.tokens = tokens;
        plan.bases = planned.data();
        detail::call(speft_plan_memory, handle_.get(), native.get(), natives.data(), natives.count(), &plan);
        return {plan.observation, plan.announced_observation, plan.selection, plan.training, plan.reselection,
                plan.fitting,     plan.products,              plan.merging};
    }

    /// Writes codes and scales of `weights`, all finite: each gets the nearest level.
    void quantize(const TensorView &weights, const QuantizedWeights &quantized) {
        const speft_tensor from = weights.native();
        detail::call(speft_quantize, handle_.get(), &from, detail::NativeWeights(quantized).get());
    }
    void dequantize(const QuantizedWeights &quantized, const MutableTensorView &weights) {
        const speft_tensor to = weights.native();
        detail::call(speft_dequantize, handle_.get(), detail::NativeWeights(quantized).get(), &to);
    }
    /// y = x Wᵀ with a quantized W, of which no dense copy is made: x [tokens, in], y [tokens, out], float32, bfloat16
    /// or float16. Layers that an adapter trains are Adapter::linear_forward's.
    void quantized_forward(const QuantizedWeights &quantized, const TensorView &x, const MutableTensorView &y,
                           const LinearOptions &options = {}) {
        multiply(speft_quantized_forward, quantized, options, x, y);
    }
    /// dx = dy W: dy [tokens, out], dx [tokens, in].
    void quantized_backward(const QuantizedWeights &quantized, const TensorView &dy, const MutableTensorView &dx,
                            const LinearOptions &options = {}) {
        multiply(speft_quantized_backward, quantized, options, dy, dx);
    }

    /// For C functions; still owned here.
    speft_context *native() const noexcept { return handle_.get(); }

private:
    template <class Function>
    void multiply(Function function, const QuantizedWeights &quantized, const LinearOptions &options,
                  const TensorView &input, const MutableTensorView &output) {
        const speft_linear_options how = detail::to_native(options);
        const speft_tensor from = input.native(), to = output.native();
        detail::call(function, handle_.get(), detail::NativeWeights(quantized).get(), &how, &from, &to);
    }

    std::unique_ptr<speft_context, detail::Destroy<speft_context, speft_destroy_context>> handle_;
};

// ---- bases ----

/// basis.h: orthogonal U and V in which the gradients dW of one kind of matrix are sparse: V dW Uᵀ. It observes some and
/// is fitted; Adapter::bind_basis trains in it.
class Basis {
public:
    /// An empty one, to be assigned to.
    Basis() = default;
    /// The context may be closed before the basis.
    Basis(Context &context, const BasisOptions &options) {
        const speft_basis_options native = detail::to_native(options);
        speft_basis *created = nullptr;
        detail::call(speft_create_basis, context.native(), &native, &created);
        handle_.reset(created);
    }

    explicit operator bool() const noexcept { return handle_ != nullptr; }
    /// Drops the basis now. Twice is fine.
    void close() noexcept { handle_.reset(); }

    BasisState state() const {
        auto state = detail::make<speft_basis_state>();
        detail::call(speft_get_basis_state, handle_.get(), &state);
        return {state.fitted != 0,       state.observations, state.row_directions,
                state.column_directions, state.row_share,    state.column_share};
    }

    /// Adds a gradient of one of the matrices, dense or from activations.
    void observe(const Gradient &gradient) {
        gradient.lend([&](const speft_gradient *native) { detail::call(speft_observe_basis, handle_.get(), native); });
    }
    /// Finds U and V from all gradients so far; `progress` counts the two sides. invalid_state while an adapter
    /// trains in it.
    void fit(const Progress &progress = {}) {
        detail::call(speft_fit_basis, handle_.get(), detail::NativeProgress(progress).get());
    }
    /// U [column_directions, columns] and V [row_directions, rows], float32, lent until the next fit.
    std::pair<TensorView, TensorView> matrices() const {
        speft_tensor u, v;
        detail::call(speft_get_basis, handle_.get(), &u, &v);
        return {TensorView(u), TensorView(v)};
    }

    /// For C functions; still owned here.
    speft_basis *native() const noexcept { return handle_.get(); }

private:
    std::unique_ptr<speft_basis, detail::Destroy<speft_basis, speft_destroy_basis>> handle_;
};

// ---- adapters ----

/// adapter.h: masks, deltas, original values and optimizer state of a model's parameters. Parameters are known by their
/// position, from 0; position(name) finds it.
class Adapter {
public:
    /// An empty one, to be assigned to.
    Adapter() = default;
    /// Everything is copied. The context may be closed before the adapter.
    Adapter(Context &context, const std::vector<Parameter> &parameters, const AdapterOptions &options)
        : kept_(std::make_shared<const AdapterOptions>(options)) {
        const detail::NativeAdapterOptions native(*kept_);
        const detail::NativeParameters natives(parameters);
        speft_adapter *created = nullptr;
        detail::call(speft_create_adapter, context.native(), native.get(), natives.data(), natives.count(), &created);
        handle_.reset(created);
    }

    /// storage.h: a new adapter of a file's content, selected, unmerged, not bound. `path` is UTF-8.
    static Adapter load(Context &context, const std::string &path, const LoadOptions &options = {}) {
        return read(speft_load_adapter, context, path.c_str(), {}, options);
    }
    static Adapter load(Context &context, span<const std::byte> bytes, const LoadOptions &options = {}) {
        return read(speft_load_adapter, context, nullptr, bytes, options);
    }
    static Adapter load(Context &context, std::istream &stream, const LoadOptions &options = {}) {
        return load(context, read_all(stream), options);
    }
    /// The same of a checkpoint: training goes on bit for bit as if it had never stopped.
    static Adapter load_checkpoint(Context &context, const std::string &path, const LoadOptions &options = {}) {
        return read(speft_load_checkpoint, context, path.c_str(), {}, options);
    }
    static Adapter load_checkpoint(Context &context, span<const std::byte> bytes, const LoadOptions &options = {}) {
        return read(speft_load_checkpoint, context, nullptr, bytes, options);
    }
    static Adapter load_checkpoint(Context &context, std::istream &stream, const LoadOptions &options = {}) {
        return load_checkpoint(context, read_all(stream), options);
    }

    Adapter(Adapter &&) noexcept = default;
    // The handle before what it may call.
    Adapter &operator=(Adapter &&other) noexcept {
        handle_ = std::move(other.handle_);
        kept_ = std::move(other.kept_);
        return *this;
    }

    explicit operator bool() const noexcept { return handle_ != nullptr; }
    /// Drops the adapter now; the weights stay as they are. Twice is fine.
    void close() noexcept {
        handle_.reset();
        kept_.reset();
    }

    // -- what is in it --

    std::int64_t count_parameters() const noexcept { return speft_count_parameters(handle_.get()); }
    Parameter parameter(std::int64_t position) const {
        auto info = detail::make<speft_parameter>();
        detail::call(speft_get_parameter, handle_.get(), position, &info);
        Parameter found;
        found.name = info.name;
        found.shape.assign(info.shape, info.shape + info.ndim);
        found.dtype = detail::from_native(info.dtype).value();
        found.role = static_cast<Role>(info.role);
        found.group = info.group;
        found.part = static_cast<Part>(info.part);
        return found;
    }
    std::vector<Parameter> parameters() const {
        std::vector<Parameter> found;
        for (std::int64_t position = 0; position < count_parameters(); ++position)
            found.push_back(parameter(position));
        return found;
    }
    /// The position of the parameter of this name; invalid_argument when there is none.
    std::int64_t position(std::string_view wanted) const {
        for (std::int64_t position = 0; position < count_parameters(); ++position)
            if (parameter(position).name == wanted) return position;
        throw invalid_argument("parameter '" + std::string(wanted) + "' is none of the adapter's");
    }
    AdapterState state() const {
        auto state = detail::make<speft_adapter_state>();
        detail::call(speft_get_adapter_state, handle_.get(), &state);
        AdapterState found;
        found.selected = state.selected;
        found.merged = state.merged;
        found.attached = state.attached;
        found.method = static_cast<Method>(state.method);
        found.steps = state.steps;
        found.observations = state.observations;
        found.selected_scalars = state.selected_scalars;
        found.trained_scalars = state.trained_scalars;
        found.targeted_scalars = state.targeted_scalars;
        found.settled_scalars = state.settled_scalars;
        if (state.next_reselection) found.next_reselection = state.next_reselection;
        found.reselection_due = state.reselection_due;
        return found;
    }

    // -- the model's weights --

    /// Lends the memory of one parameter until it is bound again or unbound, or the adapter is gone.
    void bind(std::int64_t parameter, const MutableTensorView &weights) {
        detail::call(speft_bind_weights, handle_.get(), parameter, detail::NativeWeights(weights).get());
    }
    /// The same of quantized weights: the deltas are trained beside them, and the layer's products are linear_forward
    /// and linear_backward. Only merge, attach and unmerge write to them. The parameter's type is what they are
    /// dequantized to where a call takes their values. While the adapter is attached or merged, dense and quantized
    /// weights do not take each other's place.
    void bind(std::int64_t parameter, const QuantizedWeights &weights) {
        detail::call(speft_bind_weights, handle_.get(), parameter, detail::NativeWeights(weights).get());
    }
    void unbind(std::int64_t parameter) {
        detail::call(speft_bind_weights, handle_.get(), parameter, static_cast<const speft_weights *>(nullptr));
    }
    /// Trains a parameter in a fitted basis, which Method::sparsegrad needs for each of its sparse parameters; before
    /// any observation. Several may share it, and the program may close it at once. The mask and the deltas are of
    /// [row_directions, column_directions] then; the weights stay as they are, and the layer's products are
    /// linear_forward and linear_backward.
    void bind_basis(std::int64_t parameter, const Basis &basis) {
        if (!basis) throw invalid_argument("basis must not be empty");
        detail::call(speft_bind_basis, handle_.get(), parameter, basis.native());
    }
    /// Trains it in the ordinary basis again.
    void unbind_basis(std::int64_t parameter) {
        detail::call(speft_bind_basis, handle_.get(), parameter, static_cast<speft_basis *>(nullptr));
    }
    /// A new adapter without bases, and how much of Σ ΔW² over the parameters in a basis it keeps. Of each of these it
    /// has the share `density` of the scalars with the largest |ΔW|, ΔW = VᵀΔ̃U, as ordinary deltas; others as they
    /// are. It is selected, unmerged and bound to nothing, as after load, with Method::mask. This adapter, which
    /// must be bound and not merged, stays as it is.
    std::pair<Adapter, double> leave_bases(double density) const {
        speft_adapter *created = nullptr;
        double share = 0;
        detail::call(speft_leave_bases, handle_.get(), density, &created, &share);
        std::pair<Adapter, double> found;
        found.first.handle_.reset(created);
        found.second = share;
        return found;
    }
    /// That share alone: no adapter is made.
    double measure_ordinary_share(double density) const {
        double share = 0;
        detail::call(speft_leave_bases, handle_.get(), density, static_cast<speft_adapter **>(nullptr), &share);
        return share;
    }
    /// Writes round(θ0+δ) into the bound weights. Nothing when merged already. Of a parameter in a basis it is all of
    /// W + VᵀΔ̃U; of a quantized one the blocks that have a delta are quantized anew. Where there is such a parameter,
    /// no step can be taken before attach or unmerge.
    void merge() { detail::call(speft_merge, handle_.get()); }
    /// As training needs it, which is how select leaves it: merged, but parameters in a basis and quantized ones have
    /// their original bits. Nothing when attached already; merge, where there is no such parameter.
    void attach() { detail::call(speft_attach, handle_.get()); }
    /// Writes the original bits back. Nothing when unmerged already.
    void unmerge() { detail::call(speft_unmerge, handle_.get()); }

    // -- choosing --

    /// Announces the weight of the batch whose gradients follow.
    void begin_observation(double weight) { detail::call(speft_begin_observation, handle_.get(), weight); }
    void observe(std::int64_t parameter, const Gradient &gradient) {
        gradient.lend([&](const speft_gradient *native) {
            detail::call(speft_observe, handle_.get(), parameter, native);
        });
    }
    /// Closes the batch. Without a weight it is the announced one.
    void finish_observation(double weight = 0) {
        detail::call(speft_finish_observation, handle_.get(), weight);
    }
    void clear_observations() { detail::call(speft_clear_observations, handle_.get()); }
    /// For Method::mask: strictly increasing, int64 [k].
    void set_mask(std::int64_t parameter, const TensorView &indices) {
        const speft_tensor native = indices.native();
        detail::call(speft_set_mask, handle_.get(), parameter, &native);
    }
    /// For Method::scores: float32, of the parameter's shape.
    void set_scores(std::int64_t parameter, const TensorView &scores) {
        const speft_tensor native = scores.native();
        detail::call(speft_set_scores, handle_.get(), parameter, &native);
    }
    /// For Method::weight_change: θ0, of the parameter's type and shape.
    void set_reference(std::int64_t parameter, const TensorView &original) {
        const speft_tensor native = original.native();
        detail::call(speft_set_reference, handle_.get(), parameter, &native);
    }
    /// Chooses the masks. The weights equal round(θ0+δ) from here on.
    void select(const Progress &progress = {}) {
        const auto kept = kept_;  // a callback may close this object
        detail::call(speft_select, handle_.get(), detail::NativeProgress(progress).get());
    }
    /// Chooses again where masks move: to be called after each step. Empty when none was due. What has been accumulated
    /// is cleared, and what was lent before ends.
    /// With SparseGrad and MeProp before each step instead, once all of its gradient is accumulated: it selects the
    /// largest of that, which becomes the gradient at the new mask, to be lent, clipped and stepped by.
    std::optional<Reselection> reselect(const Progress &progress = {}) {
        const auto kept = kept_;
        auto moved = detail::make<speft_reselection>();
        detail::call(speft_reselect, handle_.get(), detail::NativeProgress(progress).get(), &moved);
        if (!moved.due) return std::nullopt;
        return Reselection{moved.step, moved.dropped, moved.grown, moved.settled};
    }
    /// The flat indices that the last reselection has moved, where ScheduleOptions::track_moves is set.
    std::vector<std::int64_t> moved(std::int64_t parameter, Moved which) const {
        const auto code = static_cast<std::int32_t>(which);
        std::int64_t count = 0;
        detail::call(speft_get_moved, handle_.get(), parameter, code, &count,
                     static_cast<const speft_tensor *>(nullptr));
        std::vector<std::int64_t> indices(static_cast<std::size_t>(count));
        const MutableTensorView target(indices);
        const speft_tensor native = target.native();
        detail::call(speft_get_moved, handle_.get(), parameter, code, static_cast<std::int64_t *>(nullptr), &native);
        return indices;
    }

    // -- training --

    /// Adds to what the parameter has accumulated.
    void accumulate(std::int64_t parameter, const Gradient &gradient) {
        gradient.lend([&](const speft_gradient *native) {
            detail::call(speft_accumulate, handle_.get(), parameter, native);
        });
    }
    /// The accumulated values, float32 [k], lent until the next select or reselect: to be read and written.
    MutableTensorView gradient(std::int64_t parameter) {
        speft_tensor lent;
        detail::call(speft_get_gradient, handle_.get(), parameter, &lent);
        return MutableTensorView(lent);
    }
    /// Forgets what one parameter, or all, have accumulated.
    void clear_gradient(std::int64_t parameter) { detail::call(speft_clear_gradient, handle_.get(), parameter); }
    void clear_gradients() { clear_gradient(-1); }
    /// Scales all to a 2-norm of at most `max_norm`; infinity only measures. The norm before.
    double clip_gradient(double max_norm) {
        double norm = 0;
        detail::call(speft_clip_gradient, handle_.get(), max_norm, &norm);
        return norm;
    }
    /// One update by what was accumulated, which is then cleared. invalid_state while a reselection is due.
    void step(const StepOptions &options = {}) {
        if (options.gradient_scale == 0) throw invalid_argument("gradient_scale must not be 0");
        auto native = detail::make(speft_step_options_init);
        std::vector<speft_hyperparameters> groups;
        groups.reserve(options.groups.size());
        std::vector<const speft_hyperparameters *> pointers;
        for (const Hyperparameters &given : options.groups) {
            auto group = detail::make(speft_hyperparameters_init);
            group.learning_rate = given.learning_rate;
            group.beta1 = given.beta1;
            group.beta2 = given.beta2;
            group.epsilon = given.epsilon;
            group.weight_decay = given.weight_decay;
            group.decay = static_cast<std::int32_t>(given.decay);
            group.momentum = given.momentum;
            groups.push_back(group);
            pointers.push_back(&groups.back());
        }
        if (!pointers.empty()) native.groups = pointers.data();
        native.group_count = static_cast<std::int32_t>(pointers.size());
        native.keep_gradient = options.keep_gradient;
        native.allow_missing = options.allow_missing;
        native.gradient_scale = options.gradient_scale;
        speft_tensor control;
        if (options.control) {
            control = options.control->native();
            native.control = &control;
        }
        detail::call(speft_step, handle_.get(), &native);
    }
    /// One update, all parameters alike.
    void step(const Hyperparameters &all) {
        StepOptions options;
        options.groups.push_back(all);
        step(options);
    }

    // -- what was chosen and learned --

    std::int64_t selected_count(std::int64_t parameter) const {
        std::int64_t count = 0;
        detail::call(speft_get_selected_count, handle_.get(), parameter, &count);
        return count;
    }
    /// The mask: strictly increasing flat indices.
    std::vector<std::int64_t> mask(std::int64_t parameter) const {
        std::vector<std::int64_t> indices(static_cast<std::size_t>(selected_count(parameter)));
        read_mask(parameter, indices);
        return indices;
    }
    /// The same into memory of the program's: int64 [k].
    void read_mask(std::int64_t parameter, const MutableTensorView &indices) const {
        const speft_tensor native = indices.native();
        detail::call(speft_get_mask, handle_.get(), parameter, &native);
    }
    /// The deltas in the mask's order, float32 or bfloat16 [k], lent until the next select or reselect.
    TensorView deltas(std::int64_t parameter) const {
        speft_tensor lent;
        detail::call(speft_get_deltas, handle_.get(), parameter, &lent);
        return TensorView(lent);
    }
    /// How many updates are behind each selected scalar's moments, in the mask's order.
    std::vector<std::int64_t> ages(std::int64_t parameter) const {
        std::vector<std::int64_t> found(static_cast<std::size_t>(selected_count(parameter)));
        const MutableTensorView target(found);
        const speft_tensor native = target.native();
        detail::call(speft_get_ages, handle_.get(), parameter, &native);
        return found;
    }
    /// The share of Σ|δ| that rounding to the weight's type loses: of one parameter, or of all sparse ones.
    double measure_rounding_loss(std::int64_t parameter = -1) const {
        double share = 0;
        detail::call(speft_measure_rounding_loss, handle_.get(), parameter, &share);
        return share;
    }

    /// What merge has left of the deltas of quantized weights: of one parameter, or of all such. invalid_state but
    /// while merged.
    Requantization measure_requantization(std::int64_t parameter = -1) const {
        auto done = detail::make<speft_requantization>();
        detail::call(speft_get_requantization, handle_.get(), parameter, &done);
        return {done.deltas, done.changed, done.relative_error};
    }

    // -- products of layers whose delta is not in their weights: in a basis, quantized, or unmerged --

    /// y = x (W + Δ)ᵀ: x [tokens, in], y [tokens, out], float32, bfloat16 or float16. invalid_state where Δ is in the
    /// weights, whose own product has it.
    void linear_forward(std::int64_t parameter, const TensorView &x, const MutableTensorView &y,
                        const LinearOptions &options = {}) {
        linear(speft_linear_forward, parameter, options, x, y);
    }
    /// dx = dy (W + Δ): dy [tokens, out], dx [tokens, in].
    void linear_backward(std::int64_t parameter, const TensorView &dy, const MutableTensorView &dx,
                         const LinearOptions &options = {}) {
        linear(speft_linear_backward, parameter, options, dy, dx);
    }

    // -- files --

    /// Masks, deltas and names, as safetensors; not the optimizer's state. A file is replaced whole or stays as it was;
    /// what a stream or a writer took before a failure is the program's to discard.
    void save(const std::string &path, const SaveOptions &options = {}) const {
        write(speft_save_adapter, path.c_str(), nullptr, options);
    }
    void save(std::ostream &stream, const SaveOptions &options = {}) const { save(write_to(stream), options); }
    void save(const Writer &writer, const SaveOptions &options = {}) const {
        write(speft_save_adapter, nullptr, &writer, options);
    }
    /// The same with what training needs to go on: the optimizer's state, the original bits, what is accumulated.
    void save_checkpoint(const std::string &path, const SaveOptions &options = {}) const {
        write(speft_save_checkpoint, path.c_str(), nullptr, options);
    }
    void save_checkpoint(std::ostream &stream, const SaveOptions &options = {}) const {
        save_checkpoint(write_to(stream), options);
    }
    void save_checkpoint(const Writer &writer, const SaveOptions &options = {}) const {
        write(speft_save_checkpoint, nullptr, &writer, options);
    }

    /// For C functions; still owned here.
    speft_adapter *native() const noexcept { return handle_.get(); }

private:
    template <class Function>
    static Adapter read(Function *function, Context &context, const char *path, span<const std::byte> bytes,
                        const LoadOptions &options) {
        Adapter loaded;
        const auto kept = std::make_shared<AdapterOptions>();
        kept->selection.score = options.score;
        loaded.kept_ = kept;
        auto native = detail::make(speft_load_options_init);
        const detail::NativeProgress progress(options.progress);
        native.progress = progress.get();
        static constexpr std::byte nothing{};  // no bytes at all are still bytes, and no path
        if (!path) native.bytes = bytes.empty() ? &nothing : bytes.data();
        native.size = bytes.size();
        speft_score_function score;
        if (options.score) {
            score = detail::make_score_function(&kept->selection.score);
            native.score = &score;
        }
        speft_adapter *created = nullptr;
        detail::call(function, context.native(), &native, path, &created);
        loaded.handle_.reset(created);
        return loaded;
    }

    template <class Function>
    void write(Function *function, const char *path, const Writer *writer, const SaveOptions &options) const {
        auto native = detail::make(speft_save_options_init);
        native.format = static_cast<std::int32_t>(options.format);
        const detail::NativeProgress progress(options.progress);
        native.progress = progress.get();
        speft_writer native_writer;
        if (writer) {
            native_writer = detail::make_writer(*writer);
            native.writer = &native_writer;
        }
        detail::call(function, handle_.get(), &native, path);
    }

    static std::vector<std::byte> read_all(std::istream &stream) {
        const std::string content{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
        if (stream.bad()) throw io_failure("stream: it cannot be read", {}, EIO);
        const auto *bytes = reinterpret_cast<const std::byte *>(content.data());
        return {bytes, bytes + content.size()};
    }

    static Writer write_to(std::ostream &stream) {
        return [&stream](span<const std::byte> bytes) {
            stream.write(reinterpret_cast<const char *>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
            if (!stream) throw io_failure("stream: it cannot be written", {}, EIO);
        };
    }

    template <class Function>
    void linear(Function *function, std::int64_t parameter, const LinearOptions &options, const TensorView &in,
                const MutableTensorView &out) {
        const speft_linear_options how = detail::to_native(options);
        const speft_tensor from = in.native(), to = out.native();
        detail::call(function, handle_.get(), parameter, &how, &from, &to);
    }

    // The functions that the library calls through the adapter's whole life.
    std::shared_ptr<const AdapterOptions> kept_;
    std::unique_ptr<speft_adapter, detail::Destroy<speft_adapter, speft_destroy_adapter>> handle_;
};

/// One of the adapters of linear_forward_each, and which of its parameters is the layer.
struct Served {
    Adapter *adapter;
    std::int64_t parameter;
};

/// A batch whose rows are served by different adapters over one base: y[t] = x[t] (W + Δ)ᵀ for each row t, with the Δ
/// of served[choice[t]]; `choice` is int64 [tokens], -1 for W alone. Each adapter is as for Adapter::linear_forward
/// and, unless `delta_only`, bound to the same W; invalid_argument names the first that is not. The products with W and
/// with Δ are rounded to y's type one by one.
inline void linear_forward_each(const std::vector<Served> &served, const TensorView &x, const TensorView &choice,
                                const MutableTensorView &y, const LinearOptions &options = {}) {
    std::vector<speft_adapter *> adapters;
    std::vector<std::int64_t> parameters;
    for (const Served &one : served) {
        adapters.push_back(one.adapter ? one.adapter->native() : nullptr);
        parameters.push_back(one.parameter);
    }
    const speft_linear_options how = detail::to_native(options);
    const speft_tensor from = x.native(), chosen = choice.native(), to = y.native();
    detail::call(speft_linear_forward_each, adapters.data(), parameters.data(),
                 static_cast<std::int64_t>(served.size()), &how, &from, &chosen, &to);
}

}  // namespace speft

#endif
