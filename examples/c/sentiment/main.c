/* Adapts a classifier of product reviews to movie reviews, by 1% of its weights.
 *
 *     sentiment PRODUCTS MOVIES ADAPTER [MOST]
 *
 * PRODUCTS and MOVIES are files of reviews (data.h), of which at most MOST are read; ADAPTER is written. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "finetune.h"
#include "pretrain.h"
#include "support.h"

static const double density = 0.01;
static const double learning_rate = 0.01;
enum { PRETRAINING_EPOCHS = 10, EPOCHS = 3 };

static double read_clock(void) {
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int64_t parse_count(const char *text) {
    char *end;
    const long long count = strtoll(text, &end, 10);
    if (*end || count < 1) fail("MOST: expected a number of reviews, got '%s'", text);
    return count;
}

static struct model copy_model(const struct model *model) {
    struct model copy = create_model();
    copy_weights(&copy, model);
    return copy;
}

/* The share of the reviews whose polarity the predictions tell. */
static double measure_accuracy(const float *predictions, const struct reviews *reviews) {
    int64_t right = 0;
    for (int64_t i = 0; i < reviews->count; ++i) right += (predictions[i] > 0) == (reviews->items[i].label > 0);
    return (double)right / (double)reviews->count;
}

static void print_row(const char *name, const float *predictions, const struct reviews *held_out, int64_t trained,
                      double seconds) {
    printf("%-28s %5.1f%%  %9" PRId64 " weights trained in %4.1f s\n", name,
           100 * measure_accuracy(predictions, held_out), trained, seconds);
}

/* The model that fine-tuning starts from. */
static struct model pretrain(struct reviews *products, const struct reviews *held_out) {
    const double begin = read_clock();
    struct model model = create_model();
    train_all_weights(&model, products, PRETRAINING_EPOCHS);
    const double seconds = read_clock() - begin;
    float *predictions = predict(&model, held_out);
    print_row("trained on product reviews", predictions, held_out, count_weights(&model), seconds);
    free(predictions);
    return model;
}

/* Puts the adapter in the file `path` onto the pretrained weights, as another program would that has only these. */
static void check_file(speft_context *context, const char *path, const struct model *pretrained,
                       const struct reviews *held_out, const float *expected) {
    struct model model = copy_model(pretrained);
    speft_adapter *adapter = load_adapter(context, path, &model);
    merge_adapter(adapter);
    float *predictions = predict(&model, held_out);
    if (memcmp(predictions, expected, (size_t)held_out->count * sizeof *predictions) != 0)
        fail("%s: the adapter that was loaded predicts otherwise than the one that was saved", path);
    puts("  loaded from its file onto the weights before: every prediction is the same");
    free(predictions);
    speft_destroy_adapter(adapter);
    free_model(&model);
}

/* An adapter's whole life; finetune.c has the calls. */
static void fine_tune_sparsely(const struct model *pretrained, struct reviews *train, const struct reviews *held_out,
                               const char *path) {
    const double begin = read_clock();
    struct model model = copy_model(pretrained);
    speft_context *context = open_context();
    speft_adapter *adapter = create_adapter(context, &model, density);
    select_weights(adapter, &model, train);
    train_adapter(adapter, &model, train, EPOCHS, learning_rate);
    const double seconds = read_clock() - begin;
    float *predictions = predict(&model, held_out);
    print_row("fine-tuned: 1% and the head", predictions, held_out, count_trained(adapter), seconds);

    save_adapter(adapter, path);
    check_file(context, path, pretrained, held_out, predictions);
    unmerge_adapter(adapter);
    if (!have_equal_weights(&model, pretrained)) fail("unmerging did not restore the weights");
    puts("  unmerged: every weight has the bits it had before");
    speft_destroy_adapter(adapter);
    speft_destroy_context(context);
    free(predictions);
    free_model(&model);
}

/* For comparison. */
static void fine_tune_all_weights(const struct model *pretrained, struct reviews *train,
                                  const struct reviews *held_out) {
    const double begin = read_clock();
    struct model model = copy_model(pretrained);
    train_all_weights(&model, train, EPOCHS);
    const double seconds = read_clock() - begin;
    float *predictions = predict(&model, held_out);
    print_row("fine-tuned: all weights", predictions, held_out, count_weights(&model), seconds);
    free(predictions);
    free_model(&model);
}

int main(int argc, char **argv) {
    if (argc != 4 && argc != 5) fail("usage: %s PRODUCTS MOVIES ADAPTER [MOST]", argv[0]);
    const int64_t most = argc == 5 ? parse_count(argv[4]) : 0;
    struct reviews products = read_reviews(argv[1], most);
    struct reviews movies = read_reviews(argv[2], most);
    const struct reviews held_out = take_reviews(&movies, 0, movies.count / 5);
    struct reviews train = take_reviews(&movies, held_out.count, movies.count);
    if (held_out.count == 0) fail("%s: expected at least 5 reviews, got %" PRId64, argv[2], movies.count);
    printf("%" PRId64 " product reviews, %" PRId64 " movie reviews; accuracy on %" PRId64 " more movie reviews:\n",
           products.count, train.count, held_out.count);

    struct model pretrained = pretrain(&products, &held_out);
    fine_tune_sparsely(&pretrained, &train, &held_out, argv[3]);
    fine_tune_all_weights(&pretrained, &train, &held_out);

    free_model(&pretrained);
    free_reviews(&products);
    free_reviews(&movies);
    return EXIT_SUCCESS;
}
