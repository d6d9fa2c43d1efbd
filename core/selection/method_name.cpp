#include "core/selection/method_name.h"

#include <string>

#include "core/base/status.h"
#include "speft/selection.h"

namespace speft {

namespace {

struct Method {
    std::int32_t number;
    const char *name;
};

constexpr Method methods[] = {
    {SPEFT_SELECT_RANDOM, "random"},
    {SPEFT_SELECT_MAGNITUDE, "magnitude"},
    {SPEFT_SELECT_GRADIENT, "gradient"},
    {SPEFT_SELECT_SNIP, "snip"},
    {SPEFT_SELECT_GIVEN_MASK, "given-mask"},
    {SPEFT_SELECT_GIVEN_SCORES, "given-scores"},
    {SPEFT_SELECT_FORCE, "force"},
    {SPEFT_SELECT_TAYLOR_FO, "taylor-fo"},
    {SPEFT_SELECT_FISHER, "fisher"},
    {SPEFT_SELECT_SYNFLOW, "synflow"},
    {SPEFT_SELECT_GRASP, "grasp"},
    {SPEFT_SELECT_GRASP_CODE, "grasp-code"},
    {SPEFT_SELECT_WEIGHT_CHANGE, "weight-change"},
    {SPEFT_SELECT_LOW_RANK, "low-rank"},
    {SPEFT_SELECT_WANDA, "wanda"},
    {SPEFT_SELECT_SPIEL_AG, "spiel-ag"},
    {SPEFT_SELECT_SPIEL_MA, "spiel-ma"},
    {SPEFT_SELECT_SPARSEGRAD, "sparsegrad"},
    {SPEFT_SELECT_MEPROP, "meprop"},
    {SPEFT_SELECT_SMALLEST_MAGNITUDE, "smallest-magnitude"},
    {SPEFT_SELECT_SCORE_FUNCTION, "score-function"},
};

}  // namespace

const char *get_method_name(std::int32_t method) {
    for (const Method &known : methods)
        if (known.number == method) return known.name;
    refuse("selection.method must be one of SPEFT_SELECT_…, got " + std::to_string(method));
}

std::optional<std::int32_t> find_method(std::string_view name) {
    for (const Method &known : methods)
        if (known.name == name) return known.number;
    return std::nullopt;
}

}  // namespace speft
