#include "backends/cuda/compiler/sha256.h"

#include <gtest/gtest.h>

#include <string>

namespace tilewise::cuda {
namespace {

std::string hash_of(const std::string& text) {
  return hexadecimal(Sha256().add(text.data(), text.size()).digest());
}

// Published test vectors.
TEST(Sha256, HashesAsTheStandardDoes) {
  EXPECT_EQ(hash_of(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hash_of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hash_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(hash_of(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, DoesNotMindInWhatPiecesItIsGiven) {
  const std::string text(200, 'x');
  for (std::size_t piece : {1U, 7U, 63U, 64U, 65U, 128U}) {
    Sha256 hash;
    for (std::size_t at = 0; at < text.size(); at += piece)
      hash.add(text.data() + at, std::min(piece, text.size() - at));
    EXPECT_EQ(hexadecimal(hash.digest()), hash_of(text)) << piece;
  }
}

// 55 and 56 bytes: where the length just fits into the last block and where it does not.
TEST(Sha256, PadsEveryLength) {
  for (std::size_t bytes = 0; bytes < 130; ++bytes)
    EXPECT_NE(hash_of(std::string(bytes, 'a')), hash_of(std::string(bytes + 1, 'a'))) << bytes;
  EXPECT_EQ(hash_of(std::string(55, 'a')),
            "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318");
  EXPECT_EQ(hash_of(std::string(56, 'a')),
            "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a");
  EXPECT_EQ(hash_of(std::string(64, 'a')),
            "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb");
}

TEST(Sha256, TellsOneTextFromTwo) {
  EXPECT_NE(Sha256().add_text("ab").add_text("c").digest(),
            Sha256().add_text("a").add_text("bc").digest());
}

}  // namespace
}  // namespace tilewise::cuda
