// A child that hangs, dies or babbles is lost with a sentence; nothing waits for it for ever.
#include "bench/child.h"

#include <gtest/gtest.h>

#include <functional>

namespace tilewise::cli {
namespace {

std::string why(const std::function<void()>& action) {
  try {
    action();
  } catch (const ChildLost& lost) {
    return lost.what();
  }
  return "it answered";
}

TEST(Child, AnswersLineByLine) {
  Child child({"cat"});
  const std::string longest(100000, 'x');
  for (const std::string line : {"one", "", "two", longest.c_str()}) {
    child.send(line);
    EXPECT_EQ(child.receive(20), line);
  }
  child.pause();
  child.send("three");
  child.go_on();
  EXPECT_EQ(child.receive(20), "three");
}

TEST(Child, IsLostWithASentence) {
  EXPECT_EQ(why([] { (void)Child({"/no/such/program"}).receive(20); }), "cannot be started");
  EXPECT_EQ(why([] {
              (void)Child({"sh", "-c", "exit 3"}).receive(20);
            }),
            "ended with status 3 before it answered");
  EXPECT_EQ(why([] {
              (void)Child({"sh", "-c", "kill -9 $$"}).receive(20);
            }),
            "was ended by signal 9");
  EXPECT_EQ(why([] { (void)Child({"sleep", "100"}).receive(0.2); }), "did not answer within 0.2 s");
  EXPECT_NE(why([] {
              (void)Child({"cat", "/dev/zero"}).receive(20);
            }).find("does not end"),
            std::string::npos);
  EXPECT_EQ(why([] {
              (void)Child({"sh", "-c", "exec >&-; sleep 100"}).receive(0.2);
            }).find("it answered"),
            std::string::npos);
  EXPECT_NE(why([] {
              Child child({"true"});
              for (int line = 0; line < 100000; ++line) child.send("is anybody there?");
            }),
            "it answered");
}

TEST(Child, IsEndedThoughItStandsStill) {
  Child child({"cat"});
  child.pause();
}

}  // namespace
}  // namespace tilewise::cli
