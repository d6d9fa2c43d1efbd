/* A whole life on a small model with hand-written gradients, held against a reference in plain C.
 *
 *     y = W1 x1 + W2 x2 + b        L = Σ (y − t)² / (2 tokens)
 *
 * W1 gives its gradient as a dense dW, W2 as activations, the dense bias as a dense db. */
#include "host.h"
#include "numbers.h"

enum { TOKENS = 6, OUT = 4, IN1 = 5, IN2 = 3, STEPS = 20, W1 = 0, W2 = 1, B = 2, PARAMETERS = 3, MOST = OUT * IN1 };

static const int64_t sizes[PARAMETERS] = {OUT * IN1, OUT * IN2, OUT};
static const int64_t budget = 9;
static const char *const path = "life.safetensors";

struct model {
    float x1[TOKENS * IN1], x2[TOKENS * IN2], target[TOKENS * OUT];
    float weights[PARAMETERS][MOST];
    float dy[TOKENS * OUT];
    float gradients[PARAMETERS][MOST];
};

static void make_model(struct model *model) {
    memset(model, 0, sizeof *model);
    fill(model->x1, COUNT_OF(model->x1), 1);
    fill(model->x2, COUNT_OF(model->x2), 2);
    fill(model->target, COUNT_OF(model->target), 3);
    for (int i = 0; i < PARAMETERS; ++i) fill(model->weights[i], sizes[i], (uint32_t)i + 4);
}

/* The loss; leaves dy, and the dense gradient of every parameter. */
static double run_model(struct model *model) {
    double loss = 0;
    memset(model->gradients, 0, sizeof model->gradients);
    for (int t = 0; t < TOKENS; ++t)
        for (int o = 0; o < OUT; ++o) {
            float y = model->weights[B][o];
            for (int i = 0; i < IN1; ++i) y += model->weights[W1][o * IN1 + i] * model->x1[t * IN1 + i];
            for (int i = 0; i < IN2; ++i) y += model->weights[W2][o * IN2 + i] * model->x2[t * IN2 + i];
            const float dy = (y - model->target[t * OUT + o]) / TOKENS;
            loss += dy * dy * TOKENS / 2;
            model->dy[t * OUT + o] = dy;
            for (int i = 0; i < IN1; ++i) model->gradients[W1][o * IN1 + i] += dy * model->x1[t * IN1 + i];
            for (int i = 0; i < IN2; ++i) model->gradients[W2][o * IN2 + i] += dy * model->x2[t * IN2 + i];
            model->gradients[B][o] += dy;
        }
    return loss;
}

static void declare_parameters(speft_parameter parameters[PARAMETERS]) {
    static const int64_t shapes[PARAMETERS][2] = {{OUT, IN1}, {OUT, IN2}, {OUT}};
    parameters[W1] = declare("w1", 2, shapes[W1]);
    parameters[W2] = declare("w2", 2, shapes[W2]);
    parameters[B] = declare("b", 1, shapes[B]);
    parameters[B].role = SPEFT_ROLE_DENSE;
}

static void bind_model(speft_adapter *adapter, struct model *model) {
    bind(adapter, W1, MATRIX(model->weights[W1], float32, OUT, IN1));
    bind(adapter, W2, MATRIX(model->weights[W2], float32, OUT, IN2));
    bind(adapter, B, VECTOR(model->weights[B], float32, OUT));
}

typedef speft_status give_gradient(speft_adapter *, int64_t, const speft_gradient *, speft_error **);

/* Every parameter's gradient, in its own form, to `speft_observe` or `speft_accumulate`. */
static void give_gradients(give_gradient *give, speft_adapter *adapter, struct model *model) {
    const speft_gradient first = dense_gradient(MATRIX(model->gradients[W1], float32, OUT, IN1));
    const speft_gradient second = activations_gradient(MATRIX(model->x2, float32, TOKENS, IN2),
                                                       MATRIX(model->dy, float32, TOKENS, OUT), SPEFT_LAYOUT_OUT_IN);
    const speft_gradient third = dense_gradient(VECTOR(model->gradients[B], float32, OUT));
    CHECK_OK(give(adapter, W1, &first, &error));
    CHECK_OK(give(adapter, W2, &second, &error));
    CHECK_OK(give(adapter, B, &third, &error));
}

/* The reference's own mask: the largest |g θ|, by repeated search. */
static void find_mask(const struct model *model, int chosen[PARAMETERS][MOST]) {
    memset(chosen, 0, sizeof(int) * PARAMETERS * MOST);
    for (int64_t found = 0; found < budget; ++found) {
        int best_parameter = -1, best_index = -1;
        float best = -1;
        for (int p = W1; p <= W2; ++p)
            for (int i = 0; i < sizes[p]; ++i) {
                const float score = fabsf(model->gradients[p][i] * model->weights[p][i]);
                if (!chosen[p][i] && score > best) best = score, best_parameter = p, best_index = i;
            }
        chosen[best_parameter][best_index] = 1;
    }
    for (int i = 0; i < OUT; ++i) chosen[B][i] = 1;
}

struct reference {
    int64_t count[PARAMETERS];
    int64_t mask[PARAMETERS][MOST];
    struct scalar scalars[PARAMETERS][MOST];
};

static void start_reference(struct reference *reference, const struct model *model, speft_adapter *adapter) {
    memset(reference, 0, sizeof *reference);
    int chosen[PARAMETERS][MOST];
    find_mask(model, chosen);
    for (int p = 0; p < PARAMETERS; ++p) {
        for (int i = 0; i < sizes[p]; ++i)
            if (chosen[p][i]) {
                const int64_t at = reference->count[p]++;
                reference->mask[p][at] = i;
                if (p == B)
                    reference->scalars[p][at].delta = model->weights[p][i];
                else
                    reference->scalars[p][at].original = model->weights[p][i];
            }
        int64_t mask[MOST];
        CHECK_EQUAL(read_mask(adapter, p, mask, MOST), reference->count[p]);
        CHECK_BYTES(mask, reference->mask[p], (size_t)reference->count[p] * sizeof *mask);
    }
}

/* One update of `expected`, from what the adapter has accumulated: that is the dense gradient at the mask, in the
 * same bits, but for W2, whose products may be summed in another order: at most TOKENS roundings of terms below 2. */
static void step_reference(struct reference *reference, const struct model *model, speft_adapter *adapter,
                           float expected[PARAMETERS][MOST]) {
    for (int p = 0; p < PARAMETERS; ++p) {
        const float *accumulated = lend_gradient(adapter, p);
        for (int64_t j = 0; j < reference->count[p]; ++j) {
            const int64_t index = reference->mask[p][j];
            const float dense = model->gradients[p][index];
            if (p == W2)
                CHECK(fabsf(accumulated[j] - dense) <= TOKENS * 2 * 1.2e-7f);
            else
                CHECK(accumulated[j] == dense);
            expected[p][index] = update_scalar(&reference->scalars[p][j], accumulated[j], adamw_defaults);
        }
    }
}

static void check_deltas(const struct reference *reference, speft_adapter *adapter) {
    for (int p = 0; p < PARAMETERS; ++p) {
        const float *deltas = lend_deltas(adapter, p);
        for (int64_t j = 0; j < reference->count[p]; ++j) CHECK(deltas[j] == reference->scalars[p][j].delta);
    }
}

static void test_a_whole_life(void) {
    struct model model, pretrained;
    make_model(&model);
    pretrained = model;
    float expected[PARAMETERS][MOST];
    memcpy(expected, model.weights, sizeof expected);

    speft_context *context = create_context();
    speft_parameter parameters[PARAMETERS];
    declare_parameters(parameters);
    const speft_selection_options selection = choose(SPEFT_SELECT_SNIP, SPEFT_SCOPE_GLOBAL, 0, budget);
    speft_adapter *adapter = create_adapter(context, &selection, parameters, PARAMETERS);
    CHECK_EQUAL(speft_count_parameters(adapter), PARAMETERS);
    bind_model(adapter, &model);

    const double first_loss = run_model(&model);
    give_gradients(speft_observe, adapter, &model);
    CHECK_OK(speft_finish_observation(adapter, 1, &error));
    CHECK_EQUAL(read_state(adapter).observations, 1);
    CHECK_OK(speft_select(adapter, NULL, &error));
    CHECK_BYTES(model.weights, pretrained.weights, sizeof model.weights);

    struct reference reference;
    start_reference(&reference, &model, adapter);
    double loss = first_loss;
    for (int step = 1; step <= STEPS; ++step) {
        loss = run_model(&model);
        give_gradients(speft_accumulate, adapter, &model);
        step_reference(&reference, &model, adapter, expected);
        CHECK_OK(speft_step(adapter, NULL, &error));
        CHECK_BYTES(model.weights, expected, sizeof expected);
        check_deltas(&reference, adapter);
        CHECK_EQUAL(read_state(adapter).steps, step);
    }
    CHECK(loss < first_loss);

    const speft_adapter_state state = read_state(adapter);
    CHECK(state.selected == 1 && state.merged == 1 && state.method == SPEFT_SELECT_SNIP);
    CHECK_EQUAL(state.selected_scalars, budget);
    CHECK_EQUAL(state.trained_scalars, budget + OUT);
    CHECK_EQUAL(state.targeted_scalars, sizes[W1] + sizes[W2]);

    /* The original bits, and the trained weights again; both may be asked for twice. */
    for (int round = 0; round < 2; ++round) {
        CHECK_OK(speft_unmerge(adapter, &error));
        CHECK_OK(speft_unmerge(adapter, &error));
        CHECK_EQUAL(read_state(adapter).merged, 0);
        CHECK_BYTES(model.weights, pretrained.weights, sizeof model.weights);
        CHECK_OK(speft_merge(adapter, &error));
        CHECK_OK(speft_merge(adapter, &error));
        CHECK_EQUAL(read_state(adapter).merged, 1);
        CHECK_BYTES(model.weights, expected, sizeof expected);
    }

    CHECK_OK(speft_save_adapter(adapter, NULL, path, &error));
    speft_destroy_adapter(adapter);
    speft_destroy_context(context);
    CHECK_BYTES(model.weights, expected, sizeof expected);

    /* A fresh process: the pretrained weights, and the file. */
    struct model reloaded = pretrained;
    context = create_context();
    CHECK_OK(speft_load_adapter(context, NULL, path, &adapter, &error));
    const speft_adapter_state loaded = read_state(adapter);
    CHECK(loaded.selected == 1 && loaded.merged == 0 && loaded.method == SPEFT_SELECT_SNIP);
    CHECK_EQUAL(loaded.selected_scalars, budget);
    CHECK_EQUAL(loaded.trained_scalars, budget + OUT);
    CHECK_EQUAL(loaded.targeted_scalars, sizes[W1] + sizes[W2]);
    check_deltas(&reference, adapter);
    bind_model(adapter, &reloaded);
    CHECK_BYTES(reloaded.weights, pretrained.weights, sizeof reloaded.weights);
    CHECK_OK(speft_merge(adapter, &error));
    CHECK_BYTES(reloaded.weights, expected, sizeof expected);
    CHECK(run_model(&reloaded) == run_model(&model));

    /* It can be trained on: the optimizer starts afresh, the originals stay. */
    for (int p = 0; p < PARAMETERS; ++p)
        for (int64_t j = 0; j < reference.count[p]; ++j) {
            struct scalar *scalar = &reference.scalars[p][j];
            *scalar = (struct scalar){scalar->original, scalar->delta, 0, 0, 0};
        }
    run_model(&reloaded);
    give_gradients(speft_accumulate, adapter, &reloaded);
    step_reference(&reference, &reloaded, adapter, expected);
    CHECK_OK(speft_step(adapter, NULL, &error));
    CHECK_BYTES(reloaded.weights, expected, sizeof expected);
    CHECK_OK(speft_unmerge(adapter, &error));
    CHECK_BYTES(reloaded.weights, pretrained.weights, sizeof reloaded.weights);

    speft_destroy_adapter(adapter);
    speft_destroy_context(context);
    CHECK_EQUAL(remove(path), 0);
}

static void test_a_file_tells_its_parameters(void) {
    struct model model;
    make_model(&model);
    speft_context *context = create_context();
    speft_parameter parameters[PARAMETERS];
    declare_parameters(parameters);
    parameters[W2].group = 3;
    const speft_selection_options selection = choose(SPEFT_SELECT_RANDOM, SPEFT_SCOPE_PER_TENSOR, 0.25, 0);
    speft_adapter *saved = create_adapter(context, &selection, parameters, PARAMETERS);
    bind_model(saved, &model);
    CHECK_OK(speft_select(saved, NULL, &error));
    CHECK_OK(speft_save_adapter(saved, NULL, path, &error));
    speft_destroy_adapter(saved);

    speft_adapter *loaded = NULL;
    CHECK_OK(speft_load_adapter(context, NULL, path, &loaded, &error));
    CHECK_EQUAL(speft_count_parameters(loaded), PARAMETERS);
    for (int p = 0; p < PARAMETERS; ++p) {
        speft_parameter info;
        memset(&info, 0, sizeof info);
        info.struct_size = sizeof info;
        CHECK_OK(speft_get_parameter(loaded, p, &info, &error));
        CHECK_TEXT(info.name, parameters[p].name);
        CHECK_EQUAL(info.struct_size, sizeof info);
        CHECK_EQUAL(info.role, parameters[p].role);
        CHECK_EQUAL(info.group, parameters[p].group);
        CHECK_EQUAL(info.part, SPEFT_PART_WHOLE);
        CHECK_EQUAL(info.ndim, parameters[p].ndim);
        CHECK_BYTES(info.shape, parameters[p].shape, (size_t)info.ndim * sizeof *info.shape);
        CHECK_BYTES(&info.dtype, &parameters[p].dtype, sizeof info.dtype);
    }
    speft_destroy_adapter(loaded);
    speft_destroy_context(context);
    CHECK_EQUAL(remove(path), 0);
}

/* The host moves its tensors between any two calls. */
static void test_weights_may_move(void) {
    struct model here, there;
    make_model(&here);
    const struct model pretrained = here;
    speft_context *context = create_context();
    speft_parameter parameters[PARAMETERS];
    declare_parameters(parameters);
    const speft_selection_options selection = choose(SPEFT_SELECT_RANDOM, SPEFT_SCOPE_GLOBAL, 0, budget);
    speft_adapter *adapter = create_adapter(context, &selection, parameters, PARAMETERS);
    bind_model(adapter, &here);
    CHECK_OK(speft_select(adapter, NULL, &error));

    there = here;
    bind_model(adapter, &there);
    run_model(&there);
    give_gradients(speft_accumulate, adapter, &there);
    CHECK_OK(speft_step(adapter, NULL, &error));
    CHECK_BYTES(here.weights, pretrained.weights, sizeof here.weights);
    CHECK(memcmp(there.weights, pretrained.weights, sizeof there.weights) != 0);

    CHECK_OK(speft_bind_weights(adapter, W1, NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_STATE, "w1", speft_unmerge(adapter, &error));
    bind_model(adapter, &there);
    CHECK_OK(speft_unmerge(adapter, &error));
    CHECK_BYTES(there.weights, pretrained.weights, sizeof there.weights);
    speft_destroy_adapter(adapter);
    speft_destroy_context(context);
}

int main(void) {
    RUN(test_a_whole_life);
    RUN(test_a_file_tells_its_parameters);
    RUN(test_weights_may_move);
    return check_result();
}
