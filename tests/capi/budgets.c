/* How much is selected, said by row, by rank, or as a share of the whole model. */
#include "host.h"
#include "numbers.h"

enum { ROWS = 6, COLUMNS = 10, LONG_ROWS = 16, LONG_COLUMNS = 4, SCALARS = 64 };

static const int64_t shapes[2][2] = {{ROWS, COLUMNS}, {LONG_ROWS, LONG_COLUMNS}};
static const int64_t sizes[2] = {ROWS * COLUMNS, LONG_ROWS * LONG_COLUMNS};

struct model {
    float weights[2][SCALARS];
    float gradients[2][SCALARS];
};

static speft_adapter *start(speft_context *context, struct model *model, const speft_selection_options *selection) {
    speft_parameter parameters[2];
    for (int i = 0; i < 2; ++i) {
        parameters[i] = declare(i ? "long" : "wide", 2, shapes[i]);
        fill(model->weights[i], sizes[i], (uint32_t)i + 1);
        fill(model->gradients[i], sizes[i], (uint32_t)i + 5);
    }
    speft_adapter *adapter = create_adapter(context, selection, parameters, 2);
    for (int i = 0; i < 2; ++i) {
        bind(adapter, i, MATRIX(model->weights[i], float32, shapes[i][0], shapes[i][1]));
        observe_dense(adapter, i, MATRIX(model->gradients[i], float32, shapes[i][0], shapes[i][1]));
    }
    CHECK_OK(speft_finish_observation(adapter, 1, &error));
    return adapter;
}

/* Whether `column` is among the k largest |gradient|s of its row, by counting those before it in rank. */
static int wins(const float *row, int64_t columns, int64_t column, int64_t k) {
    int64_t before = 0;
    for (int64_t other = 0; other < columns; ++other)
        before += fabsf(row[other]) > fabsf(row[column]) ||
                  (fabsf(row[other]) == fabsf(row[column]) && other < column);
    return before < k;
}

static void check_rows(speft_adapter *adapter, const struct model *model, int i, int64_t k) {
    int64_t indices[SCALARS];
    const int64_t count = read_mask(adapter, i, indices, SCALARS), columns = shapes[i][1];
    CHECK_EQUAL(count, shapes[i][0] * k);
    int64_t place = 0;
    for (int64_t flat = 0; flat < sizes[i]; ++flat) {
        const float *row = model->gradients[i] + flat / columns * columns;
        if (!wins(row, columns, flat % columns, k)) continue;
        CHECK(place < count && indices[place] == flat);
        ++place;
    }
    CHECK_EQUAL(place, count);
}

static void test_the_largest_of_each_row(void) {
    speft_context *context = create_context();
    struct model model;
    /* 25% of 10 are 2, of 4 they are 1. */
    speft_selection_options selection = choose(SPEFT_SELECT_GRADIENT, SPEFT_SCOPE_PER_ROW, 0.25, 0);
    speft_adapter *adapter = start(context, &model, &selection);
    CHECK_OK(speft_select(adapter, NULL, &error));
    check_rows(adapter, &model, 0, 2);
    check_rows(adapter, &model, 1, 1);
    speft_destroy_adapter(adapter);

    selection = choose(SPEFT_SELECT_GRADIENT, SPEFT_SCOPE_PER_ROW, 0, 3);
    adapter = start(context, &model, &selection);
    CHECK_OK(speft_select(adapter, NULL, &error));
    check_rows(adapter, &model, 0, 3);
    check_rows(adapter, &model, 1, 3);
    speft_destroy_adapter(adapter);
    speft_destroy_context(context);
}

static void test_random_rows(void) {
    speft_context *context = create_context();
    struct model model;
    speft_selection_options selection = choose(SPEFT_SELECT_RANDOM, SPEFT_SCOPE_PER_ROW, 0, 3);
    selection.seed = 5;
    speft_adapter *adapter = start(context, &model, &selection);
    CHECK_OK(speft_select(adapter, NULL, &error));
    int differing = 0;
    for (int i = 0; i < 2; ++i) {
        int64_t indices[SCALARS];
        CHECK_EQUAL(read_mask(adapter, i, indices, SCALARS), shapes[i][0] * 3);
        for (int64_t row = 0; row < shapes[i][0]; ++row)
            for (int64_t j = 0; j < 3; ++j) {
                CHECK_EQUAL(indices[row * 3 + j] / shapes[i][1], row);
                differing += indices[row * 3 + j] % shapes[i][1] != indices[j];
            }
    }
    /* Each row has draws of its own. */
    CHECK(differing > 0);
    speft_destroy_adapter(adapter);
    speft_destroy_context(context);
}

static void test_a_row_of_nans_is_named(void) {
    speft_context *context = create_context();
    struct model model;
    const speft_selection_options selection = choose(SPEFT_SELECT_MAGNITUDE, SPEFT_SCOPE_PER_ROW, 0, 2);
    speft_adapter *adapter = start(context, &model, &selection);
    for (int64_t column = 1; column < COLUMNS; ++column) model.weights[0][4 * COLUMNS + column] = NAN;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "row 4 of 'wide'", speft_select(adapter, NULL, &error));
    CHECK_EQUAL(read_state(adapter).selected, 0);
    model.weights[0][4 * COLUMNS + 7] = 1;
    CHECK_OK(speft_select(adapter, NULL, &error));
    speft_destroy_adapter(adapter);
    speft_destroy_context(context);
}

static void test_as_many_as_low_rank_factors(void) {
    speft_context *context = create_context();
    struct model model;
    speft_selection_options selection = choose(SPEFT_SELECT_GRADIENT, SPEFT_SCOPE_PER_TENSOR, 0, 0);
    selection.rank = 2;
    speft_adapter *adapter = start(context, &model, &selection);
    CHECK_OK(speft_select(adapter, NULL, &error));
    CHECK_EQUAL(count_selected(adapter, 0), 2 * (ROWS + COLUMNS));
    CHECK_EQUAL(count_selected(adapter, 1), 2 * (LONG_ROWS + LONG_COLUMNS));
    speft_destroy_adapter(adapter);

    selection.scope = SPEFT_SCOPE_GLOBAL;
    adapter = start(context, &model, &selection);
    CHECK_OK(speft_select(adapter, NULL, &error));
    CHECK_EQUAL(read_state(adapter).selected_scalars, 2 * (ROWS + COLUMNS + LONG_ROWS + LONG_COLUMNS));
    speft_destroy_adapter(adapter);
    speft_destroy_context(context);
}

static void test_a_share_of_the_whole_model(void) {
    speft_context *context = create_context();
    struct model model;
    speft_selection_options selection = choose(SPEFT_SELECT_GRADIENT, SPEFT_SCOPE_GLOBAL, 0.001, 0);
    selection.model_scalars = 31000;
    speft_adapter *adapter = start(context, &model, &selection);
    CHECK_OK(speft_select(adapter, NULL, &error));
    CHECK_EQUAL(read_state(adapter).selected_scalars, 31);
    speft_destroy_adapter(adapter);
    speft_destroy_context(context);
}

static speft_status try_one(speft_context *context, const speft_selection_options *selection, int32_t ndim) {
    const int64_t shape[2] = {ROWS, COLUMNS};
    const speft_parameter parameter = declare("bias", ndim, shape);
    speft_adapter *adapter = NULL;
    const speft_status status = try_to_create(context, selection, NULL, &parameter, 1, &adapter);
    CHECK((status == SPEFT_OK) == (adapter != NULL));
    speft_destroy_adapter(adapter);
    return status;
}

static void test_budgets_without_a_meaning(void) {
    speft_context *context = create_context();
    speft_selection_options selection = choose(SPEFT_SELECT_GRADIENT, SPEFT_SCOPE_PER_ROW, 0.5, 0);
    CHECK_OK(try_one(context, &selection, 2));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "'bias'", try_one(context, &selection, 1));
    selection = choose(SPEFT_SELECT_GRADIENT, SPEFT_SCOPE_PER_ROW, 0, COLUMNS + 1);
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "length of a row", try_one(context, &selection, 2));
    selection = choose(SPEFT_SELECT_GRADIENT, SPEFT_SCOPE_PER_ROW, 0, 0);
    selection.rank = 1;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "rank", try_one(context, &selection, 2));
    selection.scope = SPEFT_SCOPE_GLOBAL;
    CHECK_OK(try_one(context, &selection, 2));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "2 axes", try_one(context, &selection, 1));
    selection.rank = -1;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "rank", try_one(context, &selection, 2));
    selection.rank = 4; /* 64 of 60 */
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "rank 4", try_one(context, &selection, 2));
    selection.rank = 1;
    selection.budget = 5;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "one of density, budget and rank", try_one(context, &selection, 2));
    selection = choose(SPEFT_SELECT_GRADIENT, SPEFT_SCOPE_GLOBAL, 0, 5);
    selection.model_scalars = 100;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "model_scalars", try_one(context, &selection, 2));
    selection = choose(SPEFT_SELECT_GRADIENT, SPEFT_SCOPE_GLOBAL, 0.5, 0);
    selection.model_scalars = 122;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "more than the 60", try_one(context, &selection, 2));
    selection.model_scalars = 120;
    CHECK_OK(try_one(context, &selection, 2));
    selection = choose(SPEFT_SELECT_GRADIENT, SPEFT_SCOPE_PER_ROW + 1, 0.5, 0);
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "scope", try_one(context, &selection, 2));
    selection = choose(SPEFT_SELECT_RANDOM, SPEFT_SCOPE_GLOBAL, 0, 0);
    selection.random = SPEFT_RANDOM_BERNOULLI;
    selection.rank = 1;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "Bernoulli", try_one(context, &selection, 2));
    speft_destroy_context(context);
}

int main(void) {
    RUN(test_the_largest_of_each_row);
    RUN(test_random_rows);
    RUN(test_a_row_of_nans_is_named);
    RUN(test_as_many_as_low_rank_factors);
    RUN(test_a_share_of_the_whole_model);
    RUN(test_budgets_without_a_meaning);
    return check_result();
}
