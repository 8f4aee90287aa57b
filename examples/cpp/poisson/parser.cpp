// SPDX-License-Identifier: MIT OR Apache-2.0
// A recursive descent parser for
//
//     sum      = product { ("+" | "-") product }
//     product  = factor { ("*" | "/") factor }
//     factor   = ("+" | "-") factor | power
//     power    = atom [ "^" factor ]
//     atom     = number | name | function "(" sum { "," sum } ")" | "(" sum ")"
#include "expression.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace
{

struct function_entry
{
  std::string_view name;
  std::size_t arguments;
};

constexpr std::array<function_entry, 11> functions = {{{"sin", 1},
                                                       {"cos", 1},
                                                       {"tan", 1},
                                                       {"exp", 1},
                                                       {"log", 1},
                                                       {"sqrt", 1},
                                                       {"sinh", 1},
                                                       {"cosh", 1},
                                                       {"tanh", 1},
                                                       {"atan", 1},
                                                       {"pow", 2}}};

// A limit, because trees are walked by recursion, and a second derivative is as long as the cube of the depth.
constexpr std::size_t longest = 4000;
constexpr int deepest = 40;

class parser
{
public:
  explicit parser(std::string_view text) : text_(text) {}

  expression whole()
  {
    expression tree = sum();
    if (peek() != '\0')
      fail("did not expect this here");
    return tree;
  }

private:
  expression sum()
  {
    expression tree = product();
    for (;;)
    {
      if (accept('+'))
        tree = add(tree, product());
      else if (accept('-'))
        tree = subtract(tree, product());
      else
        return tree;
    }
  }

  expression product()
  {
    expression tree = factor();
    for (;;)
    {
      if (accept('*'))
        tree = multiply(tree, factor());
      else if (accept('/'))
        tree = divide(tree, factor());
      else
        return tree;
    }
  }

  expression factor()
  {
    if (++depth_ > deepest)
      fail("nested too deeply");
    expression tree = accept('+') ? factor() : accept('-') ? negate(factor()) : power();
    --depth_;
    return tree;
  }

  expression power()
  {
    expression base = atom();
    return accept('^') ? power_of(base, factor()) : base;
  }

  expression atom()
  {
    const char next = peek();
    if (is_digit(next) || next == '.')
      return literal();
    if (is_letter(next))
      return word();
    if (!accept('('))
      fail(next == '\0' ? "the expression ends too early" : "expected a number, a name or \"(\"");
    expression tree = sum();
    expect(')');
    return tree;
  }

  expression literal()
  {
    double value = 0.0;
    const char* const begin = text_.data() + at_;
    const auto [end, failure] = std::from_chars(begin, text_.data() + text_.size(), value);
    if (failure != std::errc())
      fail("not a number that a double can hold");
    at_ += static_cast<std::size_t>(end - begin);
    return number(value);
  }

  expression word()
  {
    const std::size_t begin = at_;
    while (at_ < text_.size() && (is_letter(text_[at_]) || is_digit(text_[at_])))
      ++at_;
    const std::string name(text_.substr(begin, at_ - begin));
    if (name == "x" || name == "y" || name == "pi")
      return std::make_shared<const expression_node>(expression_node{operation::name, 0.0, name, {}});

    const auto known = std::find_if(functions.begin(), functions.end(), [&](const auto& f) { return f.name == name; });
    if (known == functions.end())
    {
      at_ = begin;
      fail("unknown name \"" + name + "\"; known are x, y, pi, sin, cos, tan, exp, log, sqrt, sinh, cosh, tanh, atan, pow");
    }
    expect('(');
    std::vector<expression> arguments{sum()};
    while (accept(','))
      arguments.push_back(sum());
    if (arguments.size() != known->arguments)
      fail(name + " takes " + (known->arguments == 1 ? "one argument" : "two arguments"));
    expect(')');
    return name == "pow" ? power_of(arguments[0], arguments[1]) : call(name, std::move(arguments));
  }

  // Returns the next character that is not a blank, '\0' at the end.
  char peek()
  {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t'))
      ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }

  bool accept(char wanted)
  {
    if (peek() != wanted)
      return false;
    ++at_;
    return true;
  }

  void expect(char wanted)
  {
    if (!accept(wanted))
      fail(std::string("expected \"") + wanted + "\"");
  }

  [[noreturn]] void fail(const std::string& reason) const
  {
    std::string shown(text_);
    std::replace_if(shown.begin(), shown.end(), [](unsigned char c) { return c < ' ' || c > '~'; }, '?');
    throw expression_error(reason + "\n    " + shown + "\n    " + std::string(at_, ' ') + "^");
  }

  // Not <cctype>, which depends on the locale.
  static bool is_digit(char c) { return c >= '0' && c <= '9'; }
  static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

  std::string_view text_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

} // namespace

expression parse(std::string_view text)
{
  if (text.size() > longest)
    throw expression_error("the expression is longer than " + std::to_string(longest) + " characters");
  return parser(text).whole();
}
