// Part of every test program: the smallest problems, which tests are full of, run on as many
// workers as the test asks for.
#include <cstdlib>

namespace {

const int kSet = setenv("TILEWISE_LEAST_SHARE", "0", 1);

}  // namespace
