/* A basis of gradients: found again where they are sparse in it, orthogonal, completed, and refused by name. */
#include "host.h"
#include "numbers.h"

enum { ROWS = 6, COLUMNS = 9, GRADIENTS = 8, TOKENS = 5 };

static speft_basis *create_basis(speft_context *context, int64_t row_directions, int64_t column_directions) {
    speft_basis_options options;
    speft_basis_options_init(&options, sizeof options);
    options.rows = ROWS;
    options.columns = COLUMNS;
    options.row_directions = row_directions;
    options.column_directions = column_directions;
    speft_basis *basis = NULL;
    CHECK_OK(speft_create_basis(context, &options, &basis, &error));
    return basis;
}

static void observe(speft_basis *basis, const float *dense) {
    const speft_gradient gradient = dense_gradient(MATRIX(dense, float32, ROWS, COLUMNS));
    CHECK_OK(speft_observe_basis(basis, &gradient, &error));
}

static speft_basis_state state_of(speft_basis *basis) {
    speft_basis_state state = {.struct_size = sizeof state};
    CHECK_OK(speft_get_basis_state(basis, &state, &error));
    return state;
}

/* Rows of a Householder reflection: orthogonal, and nothing like the axes. */
static void reflect(int64_t size, uint32_t seed, double *matrix) {
    float axis[COLUMNS] = {0};
    double squares = 0;
    fill(axis, size, seed);
    axis[0] += 2;
    for (int64_t i = 0; i < size; ++i) squares += (double)axis[i] * axis[i];
    for (int64_t i = 0; i < size; ++i)
        for (int64_t j = 0; j < size; ++j) matrix[i * size + j] = (i == j) - 2 * (double)axis[i] * axis[j] / squares;
}

static double at(const speft_tensor *tensor, int64_t row, int64_t column) {
    return ((const float *)tensor->data)[row * tensor->shape[1] + column];
}

/* Entries are rounded to float32 once, so that a product of rows of length n is off by about n roundings. */
static void check_orthogonal(const speft_tensor *rows) {
    for (int64_t i = 0; i < rows->shape[0]; ++i)
        for (int64_t j = 0; j < rows->shape[0]; ++j) {
            double sum = 0;
            for (int64_t c = 0; c < rows->shape[1]; ++c) sum += at(rows, i, c) * at(rows, j, c);
            CHECK(fabs(sum - (i == j)) <= (double)rows->shape[1] * 0x1p-23);
        }
}

/* Gradients Vᵀ D U with a diagonal D of falling entries are diagonal in the basis of V and U again, which is found
 * from them: the paper's promise. Sums are in float32: what is off the diagonal is some roundings of the largest. */
static void test_finds_a_basis_in_which_gradients_are_sparse(void) {
    static const double sizes[ROWS] = {8, 5, 3, 2, 1, 0.5};
    double left[ROWS * ROWS], right[COLUMNS * COLUMNS];
    float gradient[ROWS * COLUMNS];
    speft_context *context = create_context();
    speft_basis *basis = create_basis(context, 0, 0);
    reflect(ROWS, 1, left);
    reflect(COLUMNS, 2, right);
    for (int step = 0; step < GRADIENTS; ++step) {
        for (int r = 0; r < ROWS; ++r)
            for (int c = 0; c < COLUMNS; ++c) {
                double sum = 0;
                for (int q = 0; q < ROWS; ++q)
                    sum += left[q * ROWS + r] * sizes[q] * (step % 2 ? -1 : 1) * right[q * COLUMNS + c];
                gradient[r * COLUMNS + c] = (float)sum;
            }
        observe(basis, gradient);
    }
    CHECK_OK(speft_fit_basis(basis, NULL, &error));
    speft_tensor u, v;
    CHECK_OK(speft_get_basis(basis, &u, &v, &error));
    CHECK_EQUAL(u.shape[0], COLUMNS);
    CHECK_EQUAL(v.shape[0], ROWS);
    check_orthogonal(&u);
    check_orthogonal(&v);
    for (int i = 0; i < ROWS; ++i)
        for (int j = 0; j < COLUMNS; ++j) {
            double rotated = 0;
            for (int r = 0; r < ROWS; ++r)
                for (int c = 0; c < COLUMNS; ++c) rotated += at(&v, i, r) * gradient[r * COLUMNS + c] * at(&u, j, c);
            CHECK(fabs(fabs(rotated) - (i == j ? sizes[i] : 0)) < 1e-4);
        }
    const speft_basis_state state = state_of(basis);
    CHECK(state.fitted);
    CHECK_EQUAL(state.observations, GRADIENTS);
    CHECK_EQUAL(state.row_directions, ROWS);
    CHECK_EQUAL(state.column_directions, ROWS); /* the gradients have rank 6: three of U's rows complete it */
    CHECK(state.row_share == 1 && state.column_share == 1);
    speft_destroy_basis(basis);
    speft_destroy_context(context);
}

/* The leading direction of a stack of gradients u vᵀ, of which one weighs more. */
static void test_keeps_the_leading_directions(void) {
    float gradient[ROWS * COLUMNS];
    speft_context *context = create_context();
    speft_basis *basis = create_basis(context, 1, 2);
    memset(gradient, 0, sizeof gradient);
    gradient[2 * COLUMNS + 4] = -2;
    observe(basis, gradient);
    memset(gradient, 0, sizeof gradient);
    gradient[3 * COLUMNS + 1] = 1;
    observe(basis, gradient);
    CHECK_OK(speft_fit_basis(basis, NULL, &error));
    speft_tensor u, v;
    CHECK_OK(speft_get_basis(basis, &u, &v, &error));
    CHECK_EQUAL(v.shape[0], 1);
    CHECK_EQUAL(u.shape[0], 2);
    CHECK(at(&v, 0, 2) == 1); /* of either sign in the gradient: the largest entry is positive */
    CHECK(at(&u, 0, 4) == 1 && at(&u, 1, 1) == 1);
    const speft_basis_state state = state_of(basis);
    CHECK_EQUAL(state.row_directions, 2);
    CHECK(fabs(state.row_share - 0.8) < 1e-12); /* 4 of 5 */
    CHECK(fabs(state.column_share - 1) < 1e-12);
    speft_destroy_basis(basis);
    speft_destroy_context(context);
}

/* Both layouts, both types, and a scale: the same gradient, whichever way it comes. Sums of these numbers are exact. */
static void test_activations_give_what_their_product_gives(void) {
    float x[TOKENS * COLUMNS], dy[TOKENS * ROWS], dense[ROWS * COLUMNS];
    uint16_t narrow_x[TOKENS * COLUMNS], narrow_dy[TOKENS * ROWS];
    fill(x, TOKENS * COLUMNS, 3);
    fill(dy, TOKENS * ROWS, 4);
    for (int i = 0; i < TOKENS * COLUMNS; ++i) {
        narrow_x[i] = encode_narrow(round_narrow(x[i], narrow_bfloat16), narrow_bfloat16);
        x[i] = (float)decode_narrow(narrow_x[i], narrow_bfloat16);
    }
    for (int i = 0; i < TOKENS * ROWS; ++i) {
        narrow_dy[i] = encode_narrow(round_narrow(dy[i], narrow_bfloat16), narrow_bfloat16);
        dy[i] = (float)decode_narrow(narrow_dy[i], narrow_bfloat16);
    }
    for (int r = 0; r < ROWS; ++r)
        for (int c = 0; c < COLUMNS; ++c) {
            double sum = 0;
            for (int t = 0; t < TOKENS; ++t) sum += (double)dy[t * ROWS + r] * x[t * COLUMNS + c];
            dense[r * COLUMNS + c] = (float)(0.5 * sum);
        }
    speft_context *context = create_context();
    speft_basis *bases[4];
    speft_tensor u[4], v[4];
    const speft_tensor *wide_x = MATRIX(x, float32, TOKENS, COLUMNS), *wide_dy = MATRIX(dy, float32, TOKENS, ROWS);
    speft_gradient gradients[4] = {
        dense_gradient(MATRIX(dense, float32, ROWS, COLUMNS)),
        activations_gradient(wide_x, wide_dy, SPEFT_LAYOUT_OUT_IN),
        activations_gradient(MATRIX(narrow_x, bfloat16, TOKENS, COLUMNS), MATRIX(narrow_dy, bfloat16, TOKENS, ROWS),
                             SPEFT_LAYOUT_OUT_IN),
        activations_gradient(wide_dy, wide_x, SPEFT_LAYOUT_IN_OUT),
    };
    for (int form = 0; form < 4; ++form) {
        bases[form] = create_basis(context, 0, 0);
        if (form > 0) gradients[form].scale = 0.5;
        CHECK_OK(speft_observe_basis(bases[form], &gradients[form], &error));
        CHECK_OK(speft_fit_basis(bases[form], NULL, &error));
        CHECK_OK(speft_get_basis(bases[form], &u[form], &v[form], &error));
        CHECK_BYTES(u[form].data, u[0].data, sizeof(float) * COLUMNS * COLUMNS);
        CHECK_BYTES(v[form].data, v[0].data, sizeof(float) * ROWS * ROWS);
    }
    for (int form = 0; form < 4; ++form) speft_destroy_basis(bases[form]);
    speft_destroy_context(context);
}

static int32_t cancel(void *user, int64_t done, int64_t total) {
    (void)total;
    return done >= *(const int64_t *)user;
}

static void test_can_be_cancelled_and_observed_further(void) {
    float gradient[ROWS * COLUMNS];
    int64_t when = 1;
    const speft_progress progress = {sizeof progress, &when, cancel};
    speft_context *context = create_context();
    speft_basis *basis = create_basis(context, 0, 0);
    fill(gradient, ROWS * COLUMNS, 5);
    observe(basis, gradient);
    CHECK_FAILS(SPEFT_CANCELLED, "basis", speft_fit_basis(basis, &progress, &error));
    CHECK(!state_of(basis).fitted);
    CHECK_OK(speft_fit_basis(basis, NULL, &error));
    CHECK(state_of(basis).fitted);
    observe(basis, gradient);
    CHECK(!state_of(basis).fitted);
    speft_tensor u, v;
    CHECK_FAILS(SPEFT_INVALID_STATE, "speft_fit_basis again", speft_get_basis(basis, &u, &v, &error));
    CHECK_OK(speft_fit_basis(basis, NULL, &error));
    CHECK_EQUAL(state_of(basis).observations, 2);
    speft_destroy_basis(basis);
    speft_destroy_context(context);
}

static void test_refuses_by_name(void) {
    float gradient[ROWS * COLUMNS];
    speft_context *context = create_context();
    speft_basis *basis = create_basis(context, 0, 0);
    speft_tensor u, v;
    CHECK_FAILS(SPEFT_INVALID_STATE, "no gradient", speft_fit_basis(basis, NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_STATE, "speft_fit_basis", speft_get_basis(basis, &u, &v, &error));
    memset(gradient, 0, sizeof gradient);
    observe(basis, gradient);
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "all of them are 0", speft_fit_basis(basis, NULL, &error));
    fill(gradient, ROWS * COLUMNS, 6);
    observe(basis, gradient);
    CHECK_OK(speft_fit_basis(basis, NULL, &error));

    /* Refused, with nothing added: still fitted. */
    gradient[7] = NAN;
    const speft_gradient broken = dense_gradient(MATRIX(gradient, float32, ROWS, COLUMNS));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "NaN", speft_observe_basis(basis, &broken, &error));
    const speft_gradient turned = dense_gradient(MATRIX(gradient, float32, COLUMNS, ROWS));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "[6, 9]", speft_observe_basis(basis, &turned, &error));
    const speft_gradient values = values_gradient(VECTOR(gradient, float32, 3));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "VALUES", speft_observe_basis(basis, &values, &error));
    const speft_gradient half = activations_gradient(MATRIX(gradient, float32, 1, COLUMNS), NULL, SPEFT_LAYOUT_OUT_IN);
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "dy", speft_observe_basis(basis, &half, &error));
    CHECK(state_of(basis).fitted);
    CHECK_EQUAL(state_of(basis).observations, 2);

    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "gradient", speft_observe_basis(basis, NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "u", speft_get_basis(basis, NULL, &v, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "v", speft_get_basis(basis, &u, NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "state", speft_get_basis_state(basis, NULL, &error));
    speft_basis_state state = {.struct_size = sizeof state};
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "basis", speft_observe_basis(NULL, &broken, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "basis", speft_fit_basis(NULL, NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "basis", speft_get_basis(NULL, &u, &v, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "basis", speft_get_basis_state(NULL, &state, &error));
    speft_destroy_basis(NULL);
    speft_destroy_basis(basis);
    speft_destroy_context(context);
}

static void test_refuses_options(void) {
    speft_context *context = create_context();
    speft_basis *basis = NULL;
    speft_basis_options options;
    speft_basis_options_init(&options, sizeof options);
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "rows and columns", speft_create_basis(context, &options, &basis, &error));
    options.rows = 4;
    options.columns = INT64_C(1) << 40;
    CHECK_FAILS(SPEFT_UNSUPPORTED, "2^30", speft_create_basis(context, &options, &basis, &error));
    options.columns = 4;
    options.row_directions = 5;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "row_directions", speft_create_basis(context, &options, &basis, &error));
    options.row_directions = 0;
    options.column_directions = -1;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "column_directions", speft_create_basis(context, &options, &basis, &error));
    options.column_directions = 0;
    CHECK(basis == NULL);
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "context", speft_create_basis(NULL, &options, &basis, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "options", speft_create_basis(context, NULL, &basis, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "basis", speft_create_basis(context, &options, NULL, &error));
    speft_destroy_context(context);
}

/* It keeps its context alive. */
static void test_outlives_its_context(void) {
    float gradient[ROWS * COLUMNS];
    speft_context *context = create_context();
    speft_basis *basis = create_basis(context, 0, 0);
    speft_destroy_context(context);
    fill(gradient, ROWS * COLUMNS, 7);
    observe(basis, gradient);
    CHECK_OK(speft_fit_basis(basis, NULL, &error));
    speft_destroy_basis(basis);
}

int main(void) {
    RUN(test_finds_a_basis_in_which_gradients_are_sparse);
    RUN(test_keeps_the_leading_directions);
    RUN(test_activations_give_what_their_product_gives);
    RUN(test_can_be_cancelled_and_observed_further);
    RUN(test_refuses_by_name);
    RUN(test_refuses_options);
    RUN(test_outlives_its_context);
    return check_result();
}
