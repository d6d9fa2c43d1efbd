// One method in a process of its own. Figures go to the method's folder: result.txt and verified.txt, "key value".
#pragma once

#include <string>

#include "settings.h"

// "head-only" tunes the head alone with libtorch's AdamW; "random", "gradient" and "spiel-ag" tune a few scalars of the
// encoder's matrices with libspeft, and the head as a dense parameter beside them.
bool is_method(const std::string &name);
bool is_sparse(const std::string &name);

void train(const Settings &settings, const std::string &method);

// In a fresh process: whether the saved adapter gives the same logits again, and the original bits without it.
void verify(const Settings &settings, const std::string &method);
