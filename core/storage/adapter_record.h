// What an adapter file says, as plain data on the host: the core fills it from an adapter or makes one of it, the
// storage turns it into bytes and back. Once read it is consistent: names are unique and not empty, sizes agree,
// indices strictly increase and lie inside.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/optimizer/optimizer_options.h"
#include "core/selection/selection_options.h"

namespace speft {

struct ParameterRecord {
    std::string name;
    std::vector<std::int64_t> shape;
    std::int32_t scalar_type = 0;   // SPEFT_SCALAR_…: the weight's type
    std::int32_t role = 0;          // SPEFT_ROLE_…
    std::int32_t group = 0;
    // hash_bytes of the original bits of the selected scalars, in order, or of all of a weight in a basis; 0: dense
    std::uint64_t base_hash = 0;
    std::optional<std::size_t> basis;  // which of the record's: indices count in its directions
    std::vector<std::uint32_t> indices;  // of a sparse parameter; empty for a dense one, which has them all
    std::vector<float> deltas;           // as many as indices; of a dense parameter all of its values
};

// A basis that parameters are trained in.
struct BasisRecord {
    std::uint64_t rows = 0, columns = 0, row_directions = 0, column_directions = 0;
    std::vector<float> u, v;  // [column_directions, columns], [row_directions, rows]
};

// Whether a parameter has received a gradient since the selection.
enum class Received { nothing, cleared, pending };

// SpIEL-AG's candidates of one parameter in an open window: strictly increasing, and as many sums as indices.
struct CandidateRecord {
    std::vector<std::uint32_t> indices;
    std::vector<float> sums, squares;
    std::vector<float> gradient;  // of the step under way; empty where nothing has been accumulated in it
};

// What one parameter has beside its deltas while it is trained.
struct ParameterTraining {
    std::vector<std::byte> originals;  // θ0 of the trained scalars, in the weight's type; empty when not known
    Received received = Received::nothing;
    std::vector<float> gradient;  // what is pending; empty otherwise
    std::uint32_t updates = 0;    // of the optimizer
    // Which of the parameter's indices are settled, no longer trained: positions among them, rising.
    std::vector<std::uint32_t> settled;
    // δ after the last reselection, of the trained ones; empty unless the schedule drops by change.
    std::vector<float> last_deltas;
};

// One array of the optimizer's state: a value for each trained scalar of all parameters, in their order, those of dense
// ones included; or whatever else it keeps.
struct StateRecord {
    std::string name;  // the optimizer's word for it: "moment1"
    std::string type;  // as safetensors has it: "F32", "U8"
    std::uint64_t count = 0;
    std::vector<std::byte> bytes;
};

// What a checkpoint has beyond an adapter.
struct TrainingRecord {
    std::int64_t observations = 0;
    bool originals_known = false;
    std::vector<ParameterTraining> parameters;  // as many as the adapter has
    std::vector<StateRecord> state;             // the optimizer's; empty before its first update
    std::vector<CandidateRecord> candidates;    // one a parameter; empty outside of a window
};

struct AdapterRecord {
    SelectionOptions selection;  // of density, budget and rank at most one is not 0
    OptimizerOptions optimizer;
    // SPEFT_DELTA_…; where it is BFLOAT16, bfloat16 holds every delta of a sparse parameter exactly.
    std::int32_t delta_type = 0;
    std::int64_t steps = 0;
    std::vector<ParameterRecord> parameters;
    std::vector<BasisRecord> bases;
    std::optional<TrainingRecord> training;  // of a checkpoint
};

// How many scalars a parameter's indices count in: its own, or those of its basis.
std::uint64_t count_trainable(const AdapterRecord &record, std::size_t parameter);

// Over all parameters.
std::uint64_t count_trained(const AdapterRecord &record);

// Throws Defect unless the declarations are what speft_create_adapter takes: at least one parameter and one scalar,
// names unique, not empty and UTF-8 without NUL, shapes of fewer than 2^32 scalars, fields in their ranges.
void check_declarations(const AdapterRecord &record);

// Throws Defect unless it is consistent.
void check_record(const AdapterRecord &record);

}  // namespace speft
