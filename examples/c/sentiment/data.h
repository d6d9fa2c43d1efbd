/* Rated reviews, and the features that a model sees of them. */
#ifndef SENTIMENT_DATA_H
#define SENTIMENT_DATA_H

#include <stdint.h>

/* Words and pairs of neighbouring words, hashed. */
enum { FEATURES = 16384 };

struct review {
    const char *text;
    float label; /* 1: positive, 0: negative */
};

struct reviews {
    struct review *items;
    int64_t count;
    char *content; /* of the file, which the texts point into */
};

/* Reads lines of "id TAB rating TAB text" and shuffles them, the same way each time. Ratings run from -4 to 4; those
 * near 0 tell no polarity, and their reviews are left out. Keeps at most `most` reviews; 0: all. */
struct reviews read_reviews(const char *path, int64_t most);
void free_reviews(struct reviews *reviews);

/* A view on at most `most` of them from `first` on: valid as long as they are, and not to be freed. */
struct reviews take_reviews(const struct reviews *reviews, int64_t first, int64_t most);

/* Of a view: its own part of the reviews. */
void shuffle_reviews(struct reviews *reviews, uint64_t *random);

/* x[FEATURES]: the same positive value for each feature that the text has, together of norm 1. */
void extract_features(const char *text, float *x);

#endif
