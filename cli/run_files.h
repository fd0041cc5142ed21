// The files of `tilewise run`: which option names which tensor of a call, and what goes in and out.
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

// A gradient has the shape and type of the tensor `like` it differentiates; output and lse have
// none.
struct OutputFile {
  const char* flag;
  const char* about;
  Place place, like;
};
[[nodiscard]] const std::vector<OutputFile>& output_files();

// "--query" -> "q.npy"; flags that were not given map to "".
using Paths = std::map<std::string, std::string>;

// How files hold what .npy has no type for, and what to write.
struct FileTypes {
  bool is_uint16_bfloat16 = false;
  std::string output;  // a float type's name; empty: the query's
};

// Reads every input that is given into the call. The arrays own the memory.
[[nodiscard]] std::vector<NpyArray> read_inputs(const Paths& paths, const FileTypes& types,
                                                Call& call);

// Shapes of everything that the call writes, whether it is kept in a file or not; no memory yet.
void shape_outputs(const Paths& paths, const FileTypes& types, Call& call);

// Zeroed memory for what the call writes, and its way into the files.
class Results {
 public:
  void allocate(Call& call);
  void write(const Paths& paths, const std::string& bfloat16_type, Call& call,
             OutputFiles& files) const;

 private:
  std::vector<std::vector<std::byte>> memory_;
};

}  // namespace tilewise::cli
