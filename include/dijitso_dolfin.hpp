// SPDX-License-Identifier: MIT OR Apache-2.0
/// @file dijitso_dolfin.hpp
/// Function spaces and forms of DOLFIN 2019 from the text of a UFL file, and its Expressions from strings. Header only, on top of
/// dijitso_ffc.hpp.
///
///     const auto module = dijitso::dolfin::compile(ufl, comm);
///     const auto V = dijitso::dolfin::function_space(module, "V", mesh);
///     const auto f = dijitso::dolfin::expression({"k*sin(x[0])"}, {{"k", 2}}, comm);
///     const auto L = dijitso::dolfin::form(module, "L", {V}, {{"f", f}});
///
/// With CMake, dijitso_use_dolfin(TARGET) does all that is needed. DOLFIN's UseDOLFIN.cmake sets C++11 for all targets after
/// it, dijitso_use_dolfin() C++17 for its target, in any order.
#ifndef DIJITSO_DOLFIN_HPP
#define DIJITSO_DOLFIN_HPP

#if !defined(__cplusplus) || __cplusplus < 201703L
#error "dijitso_dolfin.hpp needs C++17, and UseDOLFIN.cmake sets C++11: in CMake call dijitso_use_dolfin(TARGET), or write set(CMAKE_CXX_STANDARD 17) after it"
#else // the whole file, so that the compiler prints that sentence alone

#include <dijitso_ffc.hpp>

#include <dolfin/common/Array.h>
#include <dolfin/fem/DofMap.h>
#include <dolfin/fem/FiniteElement.h>
#include <dolfin/fem/Form.h>
#include <dolfin/function/Expression.h>
#include <dolfin/function/FunctionSpace.h>
#include <dolfin/function/GenericFunction.h>
#include <dolfin/mesh/Mesh.h>

namespace dijitso::dolfin
{

using ffc::compile;
using ffc::compile_file;
using ffc::module;

/// Coefficients by their names in the UFL file.
using coefficients = std::map<std::string, std::shared_ptr<const ::dolfin::GenericFunction>>;

/// Function spaces, one for each argument: of the test function before that of the trial function.
using spaces = std::vector<std::shared_ptr<const ::dolfin::FunctionSpace>>;

/// Not part of the interface.
namespace detail
{

/// Names coefficients as the UFL file does: its set_coefficient() takes the names in the UFL file.
class named_form : public ::dolfin::Form
{
public:
  named_form(std::shared_ptr<const ufc::form> form, const spaces& arguments, std::vector<std::string> names)
      : Form(std::move(form), arguments), names_(std::move(names))
  {
  }

  std::size_t coefficient_number(const std::string& name) const override
  {
    for (std::size_t i = 0; i < num_coefficients(); ++i)
      if (coefficient_name(i) == name)
        return i;
    throw error(DIJITSO_ERROR_INVALID_ARGUMENT, "the form has no coefficient " + name);
  }

  std::string coefficient_name(std::size_t i) const override { return names_.at(original_coefficient_position(i)); }

private:
  std::vector<std::string> names_;
};

} // namespace detail

/// Makes a form of a module. Local.
/// @param module from compile()
/// @param name its variable in the UFL file
/// @param arguments function spaces
/// @param functions coefficients; those that the form does not have are ignored, so that several forms may get the same
/// @param mesh needed if the form has no arguments
/// @throws dijitso::error if a coefficient or a function space is missing
inline std::shared_ptr<::dolfin::Form> form(const module& module, const std::string& name, const spaces& arguments,
                                            const coefficients& functions = {},
                                            std::shared_ptr<const ::dolfin::Mesh> mesh = nullptr)
{
  const std::shared_ptr<const ufc::form> compiled = module.form(name);
  if (arguments.size() != compiled->rank())
    throw error(DIJITSO_ERROR_INVALID_ARGUMENT, "the form " + name + " needs " + std::to_string(compiled->rank())
                                                    + " function spaces, not " + std::to_string(arguments.size()));
  const auto made = std::make_shared<detail::named_form>(compiled, arguments, module.coefficients(name));
  for (std::size_t i = 0; i < made->num_coefficients(); ++i)
  {
    const auto found = functions.find(made->coefficient_name(i));
    if (found == functions.end() || !found->second)
      throw error(DIJITSO_ERROR_INVALID_ARGUMENT, "the form " + name + " needs a coefficient " + made->coefficient_name(i));
    made->set_coefficient(i, found->second);
  }
  if (mesh)
    made->set_mesh(mesh);
  return made;
}

/// Makes the function space of an element of a UFL file.
/// @param module from compile()
/// @param element its variable in the UFL file
/// @param mesh the mesh
/// @note Collective over the communicator of the mesh, because DOLFIN numbers the degrees of freedom.
inline std::shared_ptr<::dolfin::FunctionSpace> function_space(const module& module, const std::string& element,
                                                              std::shared_ptr<const ::dolfin::Mesh> mesh)
{
  return std::make_shared<::dolfin::FunctionSpace>(mesh,
                                                   std::make_shared<::dolfin::FiniteElement>(module.element(element)),
                                                   std::make_shared<::dolfin::DofMap>(module.dofmap(element), *mesh));
}

/// Makes the function space of an argument or a coefficient of a form.
/// @param module from compile()
/// @param name the form: its variable in the UFL file
/// @param argument 0 for the test function, 1 for the trial function, more for the coefficients
/// @param mesh the mesh
/// @note Collective over the communicator of the mesh, because DOLFIN numbers the degrees of freedom.
inline std::shared_ptr<::dolfin::FunctionSpace> function_space(const module& module, const std::string& name,
                                                              std::size_t argument,
                                                              std::shared_ptr<const ::dolfin::Mesh> mesh)
{
  const std::shared_ptr<const ufc::form> form = module.form(name);
  if (argument >= form->rank() + form->num_coefficients())
    throw error(DIJITSO_ERROR_INVALID_ARGUMENT, "the form " + name + " has no argument " + std::to_string(argument));
  return std::make_shared<::dolfin::FunctionSpace>(
      mesh,
      std::make_shared<::dolfin::FiniteElement>(
          std::shared_ptr<const ufc::finite_element>(form->create_finite_element(argument))),
      std::make_shared<::dolfin::DofMap>(std::shared_ptr<const ufc::dofmap>(form->create_dofmap(argument)), *mesh));
}

/// Values by the names by which the strings of an Expression use them.
using values = std::map<std::string, double>;

/// Not part of the interface.
namespace detail
{

/// Declares for the code of an Expression what it may use in DOLFIN, too.
inline constexpr const char* preamble = R"cpp(#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>
using namespace std;
#define DOLFIN_EPS 3.0e-16
#define DOLFIN_SQRT_EPS 1.7320508075688772e-8
#define DOLFIN_PI 3.14159265358979323846
#define DOLFIN_UNUSED __attribute__((unused))
namespace
{
DOLFIN_UNUSED const double pi = DOLFIN_PI;
DOLFIN_UNUSED bool near(double x, double x0, double eps = DOLFIN_EPS) { return x0 - eps <= x && x <= x0 + eps; }
DOLFIN_UNUSED bool between(double x, pair<double, double> range)
{
  return range.first - DOLFIN_EPS <= x && x <= range.second + DOLFIN_EPS;
}
}
)cpp";

/// Returns the function that evaluates an Expression. It includes no header of DOLFIN, so that it takes a tenth of the time
/// to compile, and works with the flags of any DOLFIN. The compiler names the component and the column of a mistake, because
/// #line says that a component is a file.
inline std::string expression_code(const std::vector<std::string>& components, const values& constants)
{
  std::string code = std::string(preamble)
                     + "extern \"C\" void evaluate(double* dijitso_values, const double* x DOLFIN_UNUSED,\n"
                       "                         const double* dijitso_constants DOLFIN_UNUSED)\n{\n";
  std::size_t number = 0;
  for (const auto& [name, value] : constants)
    code += "  const double " + name + " DOLFIN_UNUSED = dijitso_constants[" + std::to_string(number++) + "];\n";
  for (std::size_t i = 0; i < components.size(); ++i)
    code += "  dijitso_values[" + std::to_string(i) + "] =\n#line 1 \"component " + std::to_string(i) + "\"\n" + components[i]
            + "\n;\n";
  return code + "}\n";
}

/// Throws if the components do not fill the shape, or a constant cannot have its name.
inline void check_expression(const std::vector<std::string>& components, const std::vector<std::size_t>& shape,
                             const values& constants)
{
  std::size_t size = 1;
  for (const std::size_t extent : shape)
    size *= extent;
  if (components.empty() || size != components.size())
    throw error(DIJITSO_ERROR_INVALID_ARGUMENT, "an Expression of " + std::to_string(size) + " components cannot have "
                                                    + std::to_string(components.size()) + " strings");
  constexpr const char* letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
  for (const auto& [name, value] : constants)
    if (name.empty() || name == "x" || (name[0] >= '0' && name[0] <= '9') || name.find_first_not_of(letters) != name.npos)
      throw error(DIJITSO_ERROR_INVALID_ARGUMENT, "a constant of an Expression cannot have the name \"" + name + "\"");
}

} // namespace detail

/// An Expression whose code was compiled from strings. Its constants are properties, as those of DOLFIN in Python.
/// It must not be changed while another thread evaluates it.
class compiled_expression : public ::dolfin::Expression
{
public:
  /// Makes one; use expression().
  /// @param library has the function `evaluate`
  /// @param shape as for expression()
  /// @param constants names and values
  compiled_expression(dijitso::library library, std::vector<std::size_t> shape, const values& constants)
      : Expression(std::move(shape)), library_(std::move(library)),
        evaluate_(library_.symbol<void(double*, const double*, const double*)>("evaluate"))
  {
    for (const auto& [name, value] : constants)
    {
      names_.push_back(name);
      values_.push_back(value);
    }
  }

  using Expression::eval;

  /// Evaluates it.
  /// @param values gets the components
  /// @param x the coordinates
  void eval(Eigen::Ref<Eigen::VectorXd> values, Eigen::Ref<const Eigen::VectorXd> x) const override
  {
    evaluate_(values.data(), x.data(), values_.data());
  }

  /// Evaluates it.
  /// @param values gets the components
  /// @param x the coordinates
  void eval(::dolfin::Array<double>& values, const ::dolfin::Array<double>& x) const override
  {
    evaluate_(values.data(), x.data(), values_.data());
  }

  /// Sets a constant. Throws dijitso::error if there is none of this name.
  void set_property(std::string name, double value) override { values_[index(name)] = value; }

  /// Returns a constant. Throws dijitso::error if there is none of this name.
  double get_property(std::string name) const override { return values_[index(name)]; }

  /// Returns the library.
  const dijitso::library& library() const noexcept { return library_; }

private:
  std::size_t index(const std::string& name) const
  {
    const auto found = std::find(names_.begin(), names_.end(), name);
    if (found == names_.end())
      throw error(DIJITSO_ERROR_INVALID_ARGUMENT, "the Expression has no constant " + name);
    return static_cast<std::size_t>(found - names_.begin());
  }

  dijitso::library library_;
  void (*evaluate_)(double*, const double*, const double*);
  std::vector<std::string> names_;
  std::vector<double> values_;
};

/// Compiles an Expression from strings of C++.
///
/// @param components one string for each component, by rows if it is a tensor, such as "k*sin(pi*x[0])": `x` are the
///        coordinates, and the names of `constants` may be used; also `cmath` and `algorithm`, without prefix, pi,
///        DOLFIN_EPS, near() and between()
/// @param constants values and their names, which Expression::set_property() changes later; other values need no new library
/// @param comm all ranks of it make the call
/// @param shape {} for a scalar, {n} for a vector of n components, {m, n} for a tensor; if it is not given, a scalar for one
///        component, else a vector
/// @param parameters further parameters
/// @throws dijitso::error, the same on every rank; for a mistake in a string with the compiler's first error, whose file is
///         "component 0" or the like
/// @note Collective over comm.
inline std::shared_ptr<compiled_expression> expression(const std::vector<std::string>& components, const values& constants,
                                                       communicator comm,
                                                       std::optional<std::vector<std::size_t>> shape = std::nullopt,
                                                       const params& parameters = params())
{
  if (!shape)
    shape = components.size() == 1 ? std::vector<std::size_t>{} : std::vector<std::size_t>{components.size()};
  detail::check_expression(components, *shape, constants);
  library library = jit_source("expression", parameters, {detail::expression_code(components, constants)}, comm);
  return std::make_shared<compiled_expression>(std::move(library), std::move(*shape), constants);
}

} // namespace dijitso::dolfin

#endif // C++17
#endif
