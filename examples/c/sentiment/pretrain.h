/* Training all weights of a model: what fine-tuning starts from, and what it is compared with. */
#ifndef SENTIMENT_PRETRAIN_H
#define SENTIMENT_PRETRAIN_H

#include "model.h"

/* Goes through the reviews `epochs` times with stochastic gradient descent; the learning rate falls to 0. */
void train_all_weights(struct model *model, struct reviews *reviews, int epochs);

#endif
