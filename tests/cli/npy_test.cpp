// Reading and writing .npy: what numpy writes, and every file that must be refused.
#include "cli/npy.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "cli/core/failure.h"

namespace tilewise::cli {
namespace {

using std::string_literals::operator""s;

// A file of format 1.0 with this dictionary and these numbers' bytes.
std::string npy(const std::string& dictionary, const std::string& data = "") {
  const std::size_t size = dictionary.size();
  return "\x93NUMPY\x01\x00"s + static_cast<char>(size & 0xff) + static_cast<char>(size >> 8) +
         dictionary + data;
}

std::string dictionary(const std::string& type, const std::string& shape,
                       const std::string& order = "False") {
  return "{'descr': '" + type + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }\n";
}

std::string refusal(const std::string& file) {
  try {
    (void)parse_npy_prelude(std::string_view(file).substr(0, kLongestNpyPrelude), file.size());
  } catch (const NpyError& error) {
    return error.what();
  }
  return "accepted";
}

class NpyFile : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "npy_test.XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] std::string path(const std::string& name) const { return folder_ + "/" + name; }
  std::string save(const std::string& bytes) const {
    std::ofstream(path("a.npy"), std::ios::binary) << bytes;
    return path("a.npy");
  }
  static std::string read_refusal(const std::string& file) {
    try {
      (void)read_npy(file);
    } catch (const Failure& failure) {
      EXPECT_EQ(failure.status(), kUsage);
      return failure.what();
    }
    return "accepted";
  }

 private:
  std::string folder_;
};

template <class T>
std::vector<T> numbers(const NpyArray& array) {
  std::vector<T> result(array.header.elements());
  std::memcpy(result.data(), array.data.get(), array.header.data_bytes());
  return result;
}

TEST_F(NpyFile, ReadsWhatNumpyWrites) {
  // numpy.save of numpy.array([[1, 2, 3], [4, 5, 6]], dtype="<i4"), byte for byte.
  const std::string header = "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }";
  const std::string saved = "\x93NUMPY\x01\x00v\x00"s + header + std::string(58, ' ') + "\n" +
                            "\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05\0\0\0\x06\0\0\0"s;
  const NpyArray array = read_npy(save(saved));
  EXPECT_EQ(array.header.shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(numbers<std::int32_t>(array), (std::vector<std::int32_t>{1, 2, 3, 4, 5, 6}));
}

TEST_F(NpyFile, RoundTripsThroughItsOwnPrelude) {
  const std::vector<double> given{1.5, -2, 3.25, 1e300};
  const std::string prelude = make_npy_prelude("<f8", {4});
  EXPECT_EQ(prelude.size() % 64, 0U);
  const NpyArray array =
      read_npy(save(prelude + std::string(reinterpret_cast<const char*>(given.data()), 32)));
  EXPECT_EQ(array.header.type(), "<f8");
  EXPECT_EQ(array.header.shape, std::vector<std::int64_t>{4});
  EXPECT_EQ(numbers<double>(array), given);
}

TEST_F(NpyFile, TurnsBigEndianRound) {
  const NpyArray array =
      read_npy(save(npy(dictionary(">i4", "(2,)"), "\0\0\0\x07\xff\xff\xff\xfe"s)));
  EXPECT_EQ(numbers<std::int32_t>(array), (std::vector<std::int32_t>{7, -2}));
}

TEST_F(NpyFile, TurnsFortranOrderIntoC) {
  // The columns of [[1, 2, 3], [4, 5, 6]], one after the other.
  const std::string data = "\x01\0\0\0\x04\0\0\0\x02\0\0\0\x05\0\0\0\x03\0\0\0\x06\0\0\0"s;
  const NpyArray array = read_npy(save(npy(dictionary("<i4", "(2, 3)", "True"), data)));
  EXPECT_EQ(numbers<std::int32_t>(array), (std::vector<std::int32_t>{1, 2, 3, 4, 5, 6}));
  EXPECT_FALSE(array.header.is_fortran_order);
}

TEST_F(NpyFile, ReadsVersionsTwoAndThreeAndPythonTwo) {
  const std::string text = dictionary("<f4", "(1L,)");
  for (const char version : {'\x02', '\x03'}) {
    const std::string file = "\x93NUMPY"s + version + '\0' + static_cast<char>(text.size()) +
                             "\0\0\0"s + text + "\0\0\x80\x3f"s;
    EXPECT_EQ(numbers<float>(read_npy(save(file))), std::vector<float>{1.0F});
  }
}

TEST_F(NpyFile, ReadsEmptyAndScalarArrays) {
  const NpyArray empty = read_npy(save(npy(dictionary("<f4", "(3, 0)"))));
  EXPECT_EQ(empty.header.elements(), 0U);
  const NpyArray scalar = read_npy(save(npy(dictionary("<f4", "()"), "\0\0\x80\x3f"s)));
  EXPECT_EQ(scalar.header.elements(), 1U);
  EXPECT_THROW((void)tensor_of(scalar, false), Failure);
}

TEST_F(NpyFile, BecomesATensor) {
  const NpyArray array = read_npy(save(npy(dictionary("<f2", "(1, 2, 3)"), std::string(12, '\0'))));
  const tw_tensor tensor = tensor_of(array, false);
  EXPECT_EQ(tensor.dtype, TW_FLOAT16);
  EXPECT_EQ(tensor.rank, 3);
  EXPECT_EQ(tensor.stride[0], 6);
  EXPECT_EQ(tensor.stride[2], 1);
  EXPECT_EQ(tensor.byte_size, 12);
}

TEST_F(NpyFile, TakesBfloat16FromTwoTypes) {
  const std::string data = "\x80\x3f"s;
  EXPECT_EQ(tensor_of(read_npy(save(npy(dictionary("<V2", "(1,)"), data))), false).dtype,
            TW_BFLOAT16);
  const NpyArray bits = read_npy(save(npy(dictionary("<u2", "(1,)"), data)));
  EXPECT_EQ(tensor_of(bits, true).dtype, TW_BFLOAT16);
  EXPECT_THROW((void)tensor_of(bits, false), Failure);
}

TEST_F(NpyFile, RefusesWhatIsNoRegularFile) {
  EXPECT_NE(read_refusal(path("absent.npy")).find("No such file"), std::string::npos);
  EXPECT_NE(read_refusal("/tmp").find("it is a directory"), std::string::npos);
  EXPECT_NE(read_refusal("/dev/zero").find("it is not a regular file"), std::string::npos);
  ASSERT_EQ(mkfifo(path("pipe").c_str(), 0600), 0);
  EXPECT_NE(read_refusal(path("pipe")).find("it is not a regular file"), std::string::npos);
}

TEST_F(NpyFile, RefusesMoreNumbersThanMemory) {
  const std::string file = save(npy(dictionary("|b1", "(4398046511104,)")));
  std::error_code error;
  std::filesystem::resize_file(file, std::filesystem::file_size(file) + 4398046511104, error);
  if (error) GTEST_SKIP() << "no files with holes here: " << error.message();
  EXPECT_NE(read_refusal(file).find("its numbers take 4.00 TiB"), std::string::npos);
}

TEST_F(NpyFile, NamesTheFileItRefuses) {
  const std::string file = save("");
  EXPECT_EQ(read_refusal(file).find("cannot read " + file + ": it does not begin"), 0U);
}

TEST(NpyHeader, RefusesForeignBeginnings) {
  EXPECT_NE(refusal("PK\x03\x04 a zip file").find("does not begin as a .npy"), std::string::npos);
  EXPECT_NE(refusal("\x93NUMP").find("does not begin as a .npy"), std::string::npos);
  EXPECT_NE(refusal("\x93NUMPY\x04\x00\x01\x00 "s).find("version 4.0"), std::string::npos);
  EXPECT_NE(refusal("\x93NUMPY\x01\x01\x01\x00 "s).find("version 1.1"), std::string::npos);
  EXPECT_NE(refusal("\x93NUMPY\x02\x00\x01"s).find("middle of its header"), std::string::npos);
}

TEST(NpyHeader, RefusesHeadersThatDoNotFit) {
  EXPECT_NE(refusal("\x93NUMPY\x01\x00\xff\x00{"s).find("claims 255 bytes, but"),
            std::string::npos);
  EXPECT_NE(refusal("\x93NUMPY\x02\x00\xff\xff\xff\xff{"s).find("claims 4294967295 bytes; at most"),
            std::string::npos);
}

TEST(NpyHeader, RefusesTextThatIsNoDictionary) {
  for (const char* text : {"", "[1, 2]", "{", "{'descr': '<f4'", "{'descr'}", "{'descr': '<f4}",
                           "{'fortran_order': Maybe, }", "{1: 2}"}) {
    EXPECT_NE(refusal(npy(text)).find("not the Python dictionary"), std::string::npos) << text;
  }
  EXPECT_NE(refusal(npy(dictionary("<f4", "(0,)") + "import os")).find("not the Python dictionary"),
            std::string::npos);
  EXPECT_NE(refusal(npy("{'d\xc3\xa9scr': '<f4'}")).find("not ASCII"), std::string::npos);
  EXPECT_NE(refusal(npy("{'descr': '<f4', 'shape': (0,), }")).find("lacks one of"),
            std::string::npos);
  EXPECT_NE(refusal(npy("{'descr': '<f4', 'descr': '<f4', }")).find("names 'descr' twice"),
            std::string::npos);
  EXPECT_NE(refusal(npy("{'extra': 1, }")).find("an entry 'extra'"), std::string::npos);
}

TEST(NpyHeader, RefusesTypesThatAreNoPlainNumbers) {
  EXPECT_NE(refusal(npy(dictionary("|O", "(1,)"), "12345678")).find("Python objects"),
            std::string::npos);
  for (const char* type : {"<c8", "<U3", "<M8[ns]", "<i2", "f4", "", "<f16", "<V3"}) {
    EXPECT_NE(refusal(npy(dictionary(type, "(0,)"))).find("its elements have the type"),
              std::string::npos)
        << type;
  }
  EXPECT_NE(refusal(npy("{'descr': [('a', '<f4')], }")).find("records of several fields"),
            std::string::npos);
}

TEST(NpyHeader, RefusesImpossibleShapes) {
  const auto of_shape = [](const std::string& shape) {
    return refusal(npy(dictionary("<f4", shape)));
  };
  EXPECT_NE(of_shape("(-1,)").find("negative extent, -1"), std::string::npos);
  for (const char* shape : {"3", "(3)", "(3.5,)", "('a',)", "[3]", "(,)"}) {
    EXPECT_NE(of_shape(shape).find("not a tuple of whole numbers"), std::string::npos) << shape;
  }
  EXPECT_NE(of_shape("(99999999999999999999,)").find("more than 64 bits"), std::string::npos);
  EXPECT_NE(of_shape("(4294967296, 4294967296)").find("more bytes than 64 bits"),
            std::string::npos);
  EXPECT_NE(of_shape("(0, 4294967296, 4294967296)").find("more bytes than 64 bits"),
            std::string::npos);
  std::string many = "(";
  for (int i = 0; i < 33; ++i) many += "1,";
  EXPECT_NE(of_shape(many + ")").find("more than 32 dimensions"), std::string::npos);
}

TEST(NpyHeader, RefusesDataOfAnotherLength) {
  EXPECT_NE(refusal(npy(dictionary("<f4", "(2,)"), "1234567")).find("needs 8 bytes, but 7 follow"),
            std::string::npos);
  EXPECT_NE(refusal(npy(dictionary("<f4", "(2,)"), "123456789")).find("needs 8 bytes, but 9"),
            std::string::npos);
  EXPECT_NE(refusal(npy(dictionary("<f8", "(1000000000000,)"))).find("needs 8000000000000 bytes"),
            std::string::npos);
}

TEST(NpyHeader, SurvivesEveryCutAndFlip) {
  const std::string whole = npy(dictionary("<f4", "(2,)"), "12345678");
  ASSERT_EQ(refusal(whole), "accepted");
  for (std::size_t length = 0; length < whole.size(); ++length) {
    EXPECT_NE(refusal(whole.substr(0, length)), "accepted") << length;
  }
  for (std::size_t at = 0; at + 8 < whole.size(); ++at) {
    for (const int bit : {0, 3, 7}) {
      std::string flipped = whole;
      flipped[at] = static_cast<char>(flipped[at] ^ (1 << bit));
      // Nothing that reads at all may read past the file.
      try {
        const NpyHeader header = parse_npy_prelude(flipped, flipped.size());
        EXPECT_EQ(header.data_offset + header.data_bytes(), flipped.size());
      } catch (const NpyError&) {
        continue;
      }
    }
  }
}

}  // namespace
}  // namespace tilewise::cli
