// The files of `tilewise run`: which option names which tensor of a call.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "cli/core/call.h"
#include "cli/npy.h"
#include "cli/output_files.h"

namespace tilewise::cli {

using Place = tw_tensor* (*)(Call&);

struct InputFile {
  const char* flag;
  const char* about;
  Place place;
};
[[nodiscard]] const std::vector<InputFile>& input_files();

// A file for one output. A gradient has the shape and type of the tensor `like`; output and lse
// have no such tensor.
struct OutputFile {
  const char* flag;
  const char* about;
  Place place, like;
};
[[nodiscard]] const std::vector<OutputFile>& output_files();

// From option to file, "--query" -> "q.npy"; an option that was not given maps to "".
using Paths = std::map<std::string, std::string>;

// How bfloat16 is stored in the files, since .npy has no such type, and the type of the output.
struct FileTypes {
  bool is_uint16_bfloat16 = false;
  std::string output;  // a float type's name; empty: the query's
};

// Reads every given input into the call. The returned arrays own the memory.
[[nodiscard]] std::vector<NpyArray> read_inputs(const Paths& paths, const FileTypes& types,
                                                Call& call);

// Sets the shapes of output and lse, which every call computes, and of the gradients that have a
// file. They get memory from Results.
void shape_outputs(const Paths& paths, const FileTypes& types, Call& call);

// Zeroed memory for what the call writes, and the writing of it into files.
class Results {
 public:
  void allocate(Call& call);
  void write(const Paths& paths, const std::string& bfloat16_type, Call& call,
             OutputFiles& files) const;

 private:
  std::vector<std::vector<std::byte>> memory_;
};

}  // namespace tilewise::cli
