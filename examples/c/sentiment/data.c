#include "data.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

/* Nearer to 0 the raters did not agree on a polarity. */
static const float clear_rating = 0.5f;

/* The whole file, ending in 0. */
static char *read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) fail("%s: cannot be read (%s)", path, strerror(errno));
    char *content = NULL;
    size_t size = 0, capacity = 0;
    do {
        capacity = capacity ? 2 * capacity : 1 << 20;
        char *larger = realloc(content, capacity);
        if (!larger) fail("%s: no memory for %zu bytes", path, capacity);
        content = larger;
        size += fread(content + size, 1, capacity - 1 - size, file);
    } while (size == capacity - 1);
    if (ferror(file)) fail("%s: cannot be read (%s)", path, strerror(errno));
    fclose(file);
    content[size] = 0;
    return content;
}

static int64_t count_lines(const char *content) {
    int64_t count = 1;
    for (; *content; ++content) count += *content == '\n';
    return count;
}

/* Splits `line` in place; 0 when it is not "id TAB rating TAB text". */
static int parse_line(char *line, float *rating, const char **text) {
    char *first = strchr(line, '\t');
    char *second = first ? strchr(first + 1, '\t') : NULL;
    if (!second) return 0;
    char *end;
    *rating = strtof(first + 1, &end);
    *text = second + 1;
    return end == second;
}

struct reviews read_reviews(const char *path, int64_t most) {
    struct reviews reviews = {NULL, 0, read_file(path)};
    reviews.items = malloc((size_t)count_lines(reviews.content) * sizeof *reviews.items);
    if (!reviews.items) fail("%s: no memory for its lines", path);
    int64_t number = 1;
    for (char *line = reviews.content, *next; line && *line; line = next, ++number) {
        next = strchr(line, '\n');
        if (next) *next++ = 0;
        float rating;
        const char *text;
        if (!parse_line(line, &rating, &text))
            fail("%s, line %lld: expected id, tab, rating, tab, text", path, (long long)number);
        if (fabsf(rating) >= clear_rating) reviews.items[reviews.count++] = (struct review){text, rating > 0};
    }
    if (reviews.count == 0) fail("%s: expected reviews with clear ratings, got none", path);
    uint64_t random = 0;
    shuffle_reviews(&reviews, &random);
    if (most && most < reviews.count) reviews.count = most;
    return reviews;
}

void free_reviews(struct reviews *reviews) {
    free(reviews->items);
    free(reviews->content);
}

struct reviews take_reviews(const struct reviews *reviews, int64_t first, int64_t most) {
    const int64_t rest = reviews->count - first;
    return (struct reviews){reviews->items + first, most < rest ? most : rest, NULL};
}

/* Fisher and Yates. */
void shuffle_reviews(struct reviews *reviews, uint64_t *random) {
    for (int64_t i = reviews->count - 1; i > 0; --i) {
        const int64_t j = (int64_t)(draw(random) % (uint64_t)(i + 1));
        const struct review other = reviews->items[j];
        reviews->items[j] = reviews->items[i];
        reviews->items[i] = other;
    }
}

/* A letter of a word in lower case, or 0. Bytes above ASCII are letters of some alphabet, in UTF-8. */
static unsigned char fold_letter(char byte) {
    const unsigned char c = (unsigned char)byte;
    if (c >= 'A' && c <= 'Z') return (unsigned char)(c - 'A' + 'a');
    return (c >= 'a' && c <= 'z') || c == '\'' || c >= 128 ? c : 0;
}

/* 1 when the text did not have the feature yet. */
static int set_feature(float *x, uint32_t hash) {
    float *value = &x[(hash ^ hash >> 16) % FEATURES];
    const int is_new = *value == 0;
    *value = 1;
    return is_new;
}

void extract_features(const char *text, float *x) {
    const uint32_t basis = 2166136261u, prime = 16777619u; /* of FNV-1a */
    memset(x, 0, FEATURES * sizeof *x);
    int count = 0;
    uint32_t previous = 0;
    while (*text) {
        uint32_t word = basis;
        for (unsigned char letter; (letter = fold_letter(*text)); ++text) word = (word ^ letter) * prime;
        if (word == basis) {
            ++text; /* not a letter */
            continue;
        }
        count += set_feature(x, word);
        count += set_feature(x, (previous ^ word) * prime + word);
        previous = word;
    }
    const float value = count ? 1 / sqrtf((float)count) : 0;
    for (int i = 0; i < FEATURES; ++i) x[i] *= value;
}
