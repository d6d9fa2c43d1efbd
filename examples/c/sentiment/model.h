/* A perceptron of three layers that tells positive reviews from negative ones, its gradients by hand. */
#ifndef SENTIMENT_MODEL_H
#define SENTIMENT_MODEL_H

#include "data.h"

enum { LAYERS = 3, HEAD = LAYERS - 1, BATCH = 32 };

/* y = x W, and ReLU of it between two layers. */
struct layer {
    const char *name;
    int64_t in, out;
    float *weights; /* [in, out] */
};

/* Layer l maps values[l] to values[l + 1], and slopes[l + 1] is its dL/d(x W): a row for every review of a batch. The
 * first values are a review's features, the last is one number, above 0 for positive; slopes[0] is NULL. */
struct model {
    struct layer layers[LAYERS];
    float *values[LAYERS + 1];
    float *slopes[LAYERS + 1];
};

/* Called for each layer as soon as the backward pass has its gradient, the last layer first. It is dL/dW = xᵀ dy,
 * where x is values[layer] [rows, in] and dy is slopes[layer + 1] [rows, out]. The call may change the weights. */
typedef void gradient_receiver(void *user, struct model *model, int layer, int64_t rows);

/* With random weights, the same each time. */
struct model create_model(void);
int64_t count_weights(const struct model *model);
void copy_weights(struct model *to, const struct model *from);
int have_equal_weights(const struct model *a, const struct model *b);
void free_model(struct model *model);

/* One number for each review, to be freed. */
float *predict(struct model *model, const struct reviews *reviews);

/* The forward and the backward pass over at most BATCH reviews; the loss is the mean cross-entropy. */
void run_batch(struct model *model, const struct reviews *batch, gradient_receiver *receive, void *user);

/* sum[in, out] += times · xᵀ dy, for those that want all of dL/dW. */
void add_weight_gradient(const struct model *model, int layer, int64_t rows, float times, float *sum);

#endif
