#include "pretrain.h"

static const float largest_rate = 0.5f;

/* A receiver of gradients that takes one step down. */
static void descend(void *rate, struct model *model, int layer, int64_t rows) {
    add_weight_gradient(model, layer, rows, -*(const float *)rate, model->layers[layer].weights);
}

void train_all_weights(struct model *model, struct reviews *reviews, int epochs) {
    uint64_t random = 1;
    for (int epoch = 0; epoch < epochs; ++epoch) {
        float rate = largest_rate * (float)(epochs - epoch) / (float)epochs;
        shuffle_reviews(reviews, &random);
        for (int64_t first = 0; first < reviews->count; first += BATCH) {
            const struct reviews batch = take_reviews(reviews, first, BATCH);
            run_batch(model, &batch, descend, &rate);
        }
    }
}
