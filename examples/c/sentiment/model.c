#include "model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

static int64_t count_scalars(const struct layer *layer) { return layer->in * layer->out; }
static size_t count_bytes(const struct layer *layer) { return (size_t)count_scalars(layer) * sizeof(float); }

/* Uniform, of variance 2 / in: values keep their size through a ReLU (He and others 2015). */
static void draw_weights(struct layer *layer, uint64_t *random) {
    const float bound = sqrtf(6.0f / (float)layer->in);
    for (int64_t i = 0; i < count_scalars(layer); ++i)
        layer->weights[i] = bound * ((float)(draw(random) >> 40) / (1 << 23) - 1);
}

struct model create_model(void) {
    struct model model = {
        .layers = {{"features", FEATURES, 64, NULL}, {"hidden", 64, 32, NULL}, {"head", 32, 1, NULL}},
    };
    uint64_t random = 0;
    for (int l = 0; l < LAYERS; ++l) {
        struct layer *layer = &model.layers[l];
        layer->weights = allocate_floats(count_scalars(layer));
        draw_weights(layer, &random);
        model.values[l] = allocate_floats(BATCH * layer->in);
        model.slopes[l + 1] = allocate_floats(BATCH * layer->out);
    }
    model.values[LAYERS] = allocate_floats(BATCH * model.layers[HEAD].out);
    return model;
}

int64_t count_weights(const struct model *model) {
    int64_t count = 0;
    for (int l = 0; l < LAYERS; ++l) count += count_scalars(&model->layers[l]);
    return count;
}

void copy_weights(struct model *to, const struct model *from) {
    for (int l = 0; l < LAYERS; ++l)
        memcpy(to->layers[l].weights, from->layers[l].weights, count_bytes(&to->layers[l]));
}

int have_equal_weights(const struct model *a, const struct model *b) {
    for (int l = 0; l < LAYERS; ++l)
        if (memcmp(a->layers[l].weights, b->layers[l].weights, count_bytes(&a->layers[l])) != 0) return 0;
    return 1;
}

void free_model(struct model *model) {
    for (int l = 0; l < LAYERS; ++l) free(model->layers[l].weights);
    for (int l = 0; l <= LAYERS; ++l) {
        free(model->values[l]);
        free(model->slopes[l]);
    }
}

/* y = x W. Most features of a text are 0, and half of what a ReLU leaves: their rows of W are skipped. */
static void multiply(const struct layer *layer, const float *x, float *y) {
    memset(y, 0, (size_t)layer->out * sizeof *y);
    for (int64_t i = 0; i < layer->in; ++i)
        if (x[i] != 0)
            for (int64_t o = 0; o < layer->out; ++o) y[o] += x[i] * layer->weights[i * layer->out + o];
}

static void forward(struct model *model, const struct reviews *batch) {
    for (int64_t row = 0; row < batch->count; ++row) {
        extract_features(batch->items[row].text, model->values[0] + row * FEATURES);
        for (int l = 0; l < LAYERS; ++l) {
            const struct layer *layer = &model->layers[l];
            float *y = model->values[l + 1] + row * layer->out;
            multiply(layer, model->values[l] + row * layer->in, y);
            if (l < HEAD)
                for (int64_t o = 0; o < layer->out; ++o) y[o] = y[o] > 0 ? y[o] : 0;
        }
    }
}

float *predict(struct model *model, const struct reviews *reviews) {
    float *predictions = allocate_floats(reviews->count);
    for (int64_t first = 0; first < reviews->count; first += BATCH) {
        const struct reviews batch = take_reviews(reviews, first, BATCH);
        forward(model, &batch);
        memcpy(predictions + first, model->values[LAYERS], (size_t)batch.count * sizeof *predictions);
    }
    return predictions;
}

/* dx = dy Wᵀ where the ReLU let x pass, else 0. */
static void multiply_back(const struct layer *layer, const float *x, const float *dy, float *dx) {
    for (int64_t i = 0; i < layer->in; ++i) {
        dx[i] = 0;
        if (x[i] > 0)
            for (int64_t o = 0; o < layer->out; ++o) dx[i] += layer->weights[i * layer->out + o] * dy[o];
    }
}

/* The slopes of the last layer. */
static void differentiate_loss(struct model *model, const struct reviews *batch) {
    for (int64_t row = 0; row < batch->count; ++row) {
        const float probability = 1 / (1 + expf(-model->values[LAYERS][row]));
        model->slopes[LAYERS][row] = (probability - batch->items[row].label) / (float)batch->count;
    }
}

static void backward_layer(struct model *model, int l, int64_t rows) {
    const struct layer *layer = &model->layers[l];
    for (int64_t row = 0; row < rows; ++row)
        multiply_back(layer, model->values[l] + row * layer->in, model->slopes[l + 1] + row * layer->out,
                      model->slopes[l] + row * layer->in);
}

void run_batch(struct model *model, const struct reviews *batch, gradient_receiver *receive, void *user) {
    forward(model, batch);
    differentiate_loss(model, batch);
    for (int l = HEAD; l >= 0; --l) {
        if (l > 0) backward_layer(model, l, batch->count);
        receive(user, model, l, batch->count);
    }
}

void add_weight_gradient(const struct model *model, int layer, int64_t rows, float times, float *sum) {
    const int64_t in = model->layers[layer].in, out = model->layers[layer].out;
    for (int64_t row = 0; row < rows; ++row) {
        const float *x = model->values[layer] + row * in, *dy = model->slopes[layer + 1] + row * out;
        for (int64_t i = 0; i < in; ++i)
            if (x[i] != 0)
                for (int64_t o = 0; o < out; ++o) sum[i * out + o] += times * x[i] * dy[o];
    }
}
