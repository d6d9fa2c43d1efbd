#include "core/storage/adapter_tensors.h"

#include <cstring>
#include <vector>

#include "core/storage/float_code.h"
#include "core/storage/mask_code.h"
#include "core/storage/shape.h"
#include "speft/adapter.h"
#include "speft/storage.h"

namespace speft {

namespace {

constexpr const char *hashes_name = "base_hashes";
constexpr const char *deltas_name = "deltas";
constexpr const char *indices_name = "indices";

// No other tensor's name ends in it, so that whatever the parameters are called, no two tensors share a name.
std::string values_name(const ParameterRecord &parameter) { return parameter.name + ".values"; }

std::string basis_name(std::size_t number, const char *side) { return "basis." + std::to_string(number) + "." + side; }

bool is_dense(const ParameterRecord &parameter) { return parameter.role == SPEFT_ROLE_DENSE; }

ScalarType type_of(const ParameterRecord &parameter) { return static_cast<ScalarType>(parameter.scalar_type); }

std::vector<std::int64_t> vector_of(std::uint64_t count) { return {static_cast<std::int64_t>(count)}; }

void append(std::vector<std::byte> &all, const std::vector<std::byte> &more) {
    all.insert(all.end(), more.begin(), more.end());
}

void add_sparse(const AdapterRecord &record, ScalarType type, Tensors &tensors) {
    std::vector<std::byte> hashes, deltas, indices;
    std::int64_t masks = 0;
    for (std::size_t i = 0; i < record.parameters.size(); ++i) {
        const ParameterRecord &parameter = record.parameters[i];
        if (is_dense(parameter)) continue;
        ++masks;
        const auto *hash = reinterpret_cast<const std::byte *>(&parameter.base_hash);
        hashes.insert(hashes.end(), hash, hash + sizeof parameter.base_hash);
        append(deltas, encode_floats(parameter.deltas, type));
        append(indices, encode_mask(parameter.indices, count_trainable(record, i)));
    }
    tensors[hashes_name] = {"U64", {masks}, std::move(hashes)};
    tensors[deltas_name] = {get_type_name(type), vector_of(deltas.size() / size_of(type)), std::move(deltas)};
    const std::vector<std::int64_t> bytes = vector_of(indices.size());
    tensors[indices_name] = {"U8", bytes, std::move(indices)};
}

void take_sparse(TensorReader &tensors, AdapterMetadata &metadata) {
    std::uint64_t masks = 0, selected = 0, bytes = 0;
    for (std::size_t i = 0; i < metadata.counts.size(); ++i) {
        const ParameterRecord &parameter = metadata.record.parameters[i];
        if (is_dense(parameter)) continue;
        ++masks;
        selected += metadata.counts[i];
        bytes += get_mask_code_size(metadata.counts[i], count_trainable(metadata.record, i));
    }
    const bool narrow = metadata.record.delta_type == SPEFT_DELTA_BFLOAT16;
    const Tensor hash_tensor = tensors.take(hashes_name, {"U64"}, vector_of(masks));
    const Tensor delta_tensor = narrow ? tensors.take(deltas_name, {"BF16"}, vector_of(selected))
                                       : tensors.take(deltas_name, {"F32", "BF16"}, vector_of(selected));
    const Tensor index_tensor = tensors.take(indices_name, {"U8"}, vector_of(bytes));
    const ScalarType type = delta_tensor.type == "BF16" ? ScalarType::bfloat16 : ScalarType::float32;

    ByteCursor hashes(hash_tensor.bytes), deltas(delta_tensor.bytes), indices(index_tensor.bytes);
    for (std::size_t i = 0; i < metadata.counts.size(); ++i) {
        ParameterRecord &parameter = metadata.record.parameters[i];
        if (is_dense(parameter)) continue;
        const std::uint64_t count = metadata.counts[i], size = count_trainable(metadata.record, i);
        std::memcpy(&parameter.base_hash, hashes.next(sizeof parameter.base_hash).data(), sizeof parameter.base_hash);
        parameter.deltas.resize(count);
        decode_floats(deltas.next(count * size_of(type)), type, parameter.deltas);
        parameter.indices = decode_mask(indices.next(get_mask_code_size(count, size)), count, size);
    }
}

// In the weight's own type a dense parameter merges to the same bits as before.
void add_dense(const ParameterRecord &parameter, std::int32_t format, Tensors &tensors) {
    const ScalarType type = format == SPEFT_FORMAT_COMPACT ? type_of(parameter) : ScalarType::float32;
    tensors[values_name(parameter)] = {get_type_name(type), parameter.shape, encode_floats(parameter.deltas, type)};
}

void take_dense(TensorReader &tensors, ParameterRecord &parameter, std::uint64_t count) {
    const Tensor values =
        tensors.take(values_name(parameter), {"F32", get_type_name(type_of(parameter))}, parameter.shape);
    parameter.deltas.resize(count);
    decode_floats(values.bytes, values.type == "F32" ? ScalarType::float32 : type_of(parameter), parameter.deltas);
}

// U and V, in float32 whatever the format.
void add_bases(const AdapterRecord &record, Tensors &tensors) {
    for (std::size_t i = 0; i < record.bases.size(); ++i) {
        const BasisRecord &basis = record.bases[i];
        const auto add = [&](const char *side, std::uint64_t directions, std::uint64_t size,
                             const std::vector<float> &vectors) {
            tensors[basis_name(i, side)] = {"F32",
                                            {static_cast<std::int64_t>(directions), static_cast<std::int64_t>(size)},
                                            encode_floats(vectors, ScalarType::float32)};
        };
        add("u", basis.column_directions, basis.columns, basis.u);
        add("v", basis.row_directions, basis.rows, basis.v);
    }
}

void take_bases(TensorReader &tensors, AdapterRecord &record) {
    for (std::size_t i = 0; i < record.bases.size(); ++i) {
        BasisRecord &basis = record.bases[i];
        const auto take = [&](const char *side, std::uint64_t directions, std::uint64_t size,
                              std::vector<float> &vectors) {
            const Tensor tensor =
                tensors.take(basis_name(i, side), {"F32"},
                             {static_cast<std::int64_t>(directions), static_cast<std::int64_t>(size)});
            vectors.resize(directions * size);
            decode_floats(tensor.bytes, ScalarType::float32, vectors);
        };
        take("u", basis.column_directions, basis.columns, basis.u);
        take("v", basis.row_directions, basis.rows, basis.v);
    }
}

}  // namespace

void add_adapter_tensors(const AdapterRecord &record, std::int32_t format, Tensors &tensors) {
    const bool narrow = format == SPEFT_FORMAT_COMPACT || record.delta_type == SPEFT_DELTA_BFLOAT16;
    add_bases(record, tensors);
    add_sparse(record, narrow ? ScalarType::bfloat16 : ScalarType::float32, tensors);
    for (const ParameterRecord &parameter : record.parameters)
        if (is_dense(parameter)) add_dense(parameter, format, tensors);
}

void take_adapter_tensors(TensorReader &tensors, AdapterMetadata &metadata) {
    take_bases(tensors, metadata.record);
    take_sparse(tensors, metadata);
    for (std::size_t i = 0; i < metadata.counts.size(); ++i)
        if (ParameterRecord &parameter = metadata.record.parameters[i]; is_dense(parameter))
            take_dense(tensors, parameter, metadata.counts[i]);
}

}  // namespace speft
