/* The part of the program that talks to libspeft: an adapter for a model, from its creation to its file. */
#ifndef SENTIMENT_FINETUNE_H
#define SENTIMENT_FINETUNE_H

#include <stdint.h>

#include <speft/speft.h>

#include "model.h"

/* The best backend that there is, on all cores. */
speft_context *open_context(void);

/* An adapter for `model`, whose weights are lent to it. It trains the whole head, and of the other layers together
 * `density` of the scalars, chosen by their gradients. */
speft_adapter *create_adapter(speft_context *context, const struct model *model, double density);

/* The adapter in a file, unmerged. The weights of `model`, lent to it, have to be those that it was trained on. */
speft_adapter *load_adapter(speft_context *context, const char *path, const struct model *model);

/* Shows the adapter the gradients of some reviews, and has it choose what it will train. */
void select_weights(speft_adapter *adapter, struct model *model, const struct reviews *reviews);

/* Goes through the reviews `epochs` times, with AdamW; the learning rate falls to 0. */
void train_adapter(speft_adapter *adapter, struct model *model, struct reviews *reviews, int epochs, double rate);

void save_adapter(speft_adapter *adapter, const char *path);

/* Puts what was learned into the model's weights, and takes it out again, to the bit. */
void merge_adapter(speft_adapter *adapter);
void unmerge_adapter(speft_adapter *adapter);

/* How many weights it trains, the head's included. */
int64_t count_trained(speft_adapter *adapter);

#endif
