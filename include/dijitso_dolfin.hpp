// SPDX-License-Identifier: MIT OR Apache-2.0
/// @file dijitso_dolfin.hpp
/// Forms of DOLFIN 2019 from the text of a UFL file, and its Expressions from strings. Header only, on top of
/// dijitso_ffc.hpp.
///
///     const auto module = dijitso::dolfin::compile(ufl, comm);
///     const auto V = dijitso::dolfin::function_space(module, "a", 0, mesh);
///     const auto f = dijitso::dolfin::expression({"k*sin(x[0])"}, {{"k", 2}}, comm);
///     const auto L = dijitso::dolfin::form(module, "L", {V}, {{"f", f}});
///
/// With CMake, dijitso_use_ffc(TARGET) and dijitso_pass_build_params(TARGET) tell what the headers need. DOLFIN's
/// UseDOLFIN.cmake sets C++11: set CMAKE_CXX_STANDARD to 17 after it, or do not include it and link to the target dolfin.
#ifndef DIJITSO_DOLFIN_HPP
#define DIJITSO_DOLFIN_HPP

#if !defined(__cplusplus) || __cplusplus < 201703L
#error "dijitso_dolfin.hpp needs C++17, and UseDOLFIN.cmake sets C++11: write set(CMAKE_CXX_STANDARD 17) after it"
#else // the whole file, so that the compiler prints that sentence alone

#include <dijitso_build_params.hpp>
#include <dijitso_ffc.hpp>

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
using ffc::module;
#if DIJITSO_HAVE_MPI
using ffc::compile_file;
#endif

/// Coefficients by their names in the UFL file.
using coefficients = std::map<std::string, std::shared_ptr<const ::dolfin::GenericFunction>>;

/// Function spaces, one for each argument: of the test function before that of the trial function.
using spaces = std::vector<std::shared_ptr<const ::dolfin::FunctionSpace>>;

/// Makes a form of a module. Local.
/// @param module from compile()
/// @param name its variable in the UFL file
/// @param arguments function spaces
/// @param functions coefficients
/// @param mesh needed if the form has no arguments
/// @throws std::invalid_argument if a coefficient is missing
inline std::shared_ptr<::dolfin::Form> form(const module& module, const std::string& name, const spaces& arguments,
                                            const coefficients& functions = {},
                                            std::shared_ptr<const ::dolfin::Mesh> mesh = nullptr)
{
  const auto made = std::make_shared<::dolfin::Form>(module.form(name), arguments);
  const std::vector<std::string> names = module.coefficients(name);
  for (std::size_t i = 0; i < made->num_coefficients(); ++i)
  {
    const std::string& coefficient = names.at(made->original_coefficient_position(i));
    const auto found = functions.find(coefficient);
    if (found == functions.end())
      throw std::invalid_argument("the form " + name + " needs a coefficient " + coefficient);
    made->set_coefficient(i, found->second);
  }
  if (mesh)
    made->set_mesh(mesh);
  return made;
}

/// Makes the function space of an argument of a form.
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
  const auto element = std::make_shared<::dolfin::FiniteElement>(
      std::shared_ptr<const ufc::finite_element>(form->create_finite_element(argument)));
  const auto dofmap = std::make_shared<::dolfin::DofMap>(
      std::shared_ptr<const ufc::dofmap>(form->create_dofmap(argument)), *mesh);
  return std::make_shared<::dolfin::FunctionSpace>(mesh, element, dofmap);
}

/// Values by the names by which the strings of an Expression use them.
using values = std::map<std::string, double>;

/// Not part of the interface.
namespace detail
{

/// Returns the class of an Expression. The signature does not depend on values, only on their names.
inline std::string expression_code(const std::vector<std::string>& components, const std::vector<std::size_t>& shape,
                                   const values& names)
{
  std::string members, get, set, eval, constructor;
  for (const auto& [name, value] : names)
  {
    members += "  double " + name + " = 0;\n";
    get += "    if (name == " + host::json_string(name) + ") return " + name + ";\n";
    set += "    if (name == " + host::json_string(name) + ") { " + name + " = value_; return; }\n";
  }
  for (std::size_t i = 0; i < components.size(); ++i)
    eval += "    values_[" + std::to_string(i) + "] = " + components[i] + ";\n";
  for (const std::size_t extent : shape)
    constructor += " _value_shape.push_back(" + std::to_string(extent) + ");";
  return "#include <dolfin/function/Expression.h>\n"
         "#include <cmath>\n#include <stdexcept>\n"
         "using namespace std;\n"
         "namespace {\n"
         "const double pi = 3.14159265358979323846;\n"
         "struct generated : dolfin::Expression\n{\n"
         + members + "  generated() {" + constructor + " }\n"
         "  void eval(Eigen::Ref<Eigen::VectorXd> values_, Eigen::Ref<const Eigen::VectorXd> x) const override\n  {\n"
         + eval + "  }\n"
         "  double get_property(std::string name) const override\n  {\n" + get
         + "    throw runtime_error(\"the Expression has no value \" + name);\n  }\n"
         "  void set_property(std::string name, double value_) override\n  {\n" + set
         + "    throw runtime_error(\"the Expression has no value \" + name);\n  }\n"
         "};\n}\n"
         "extern \"C\" dolfin::Expression* create_expression() { return new generated; }\n";
}

} // namespace detail

/// Compiles an Expression from strings of C++.
///
/// @param components one string for each component, such as "k*sin(pi*x[0])": `x` are the coordinates, and the names of
///        `constants` may be used. Functions of `cmath` need no prefix.
/// @param constants values and their names, which Expression::set_property() changes later; other values need no new library
/// @param comm all ranks of it make the call
/// @param shape {} for a scalar, {n} for a vector of n components, {m, n} for a tensor; if it is not given, a scalar for one
///        component, else a vector
/// @param parameters further parameters
/// @throws dijitso::error, the same on every rank; for a mistake in a string with the compiler's first error
/// @note Collective over comm.
inline std::shared_ptr<::dolfin::Expression> expression(const std::vector<std::string>& components, const values& constants,
                                                       communicator comm,
                                                       std::optional<std::vector<std::size_t>> shape = std::nullopt,
                                                       params parameters = params())
{
  if (!shape)
    shape = components.size() == 1 ? std::vector<std::size_t>{} : std::vector<std::size_t>{components.size()};
  host::set_build_params(parameters, DIJITSO_TARGET_INCLUDE_DIRS, DIJITSO_TARGET_DEFINES);
  // Eigen and DOLFIN of this version need C++11 or newer; the program has C++17.
  parameters.set("build.cxxflags", "-Wall -shared -fPIC -std=c++17");
  const std::string code = detail::expression_code(components, *shape, constants);
  const library library = jit_source("expression", parameters, {code}, comm);
  const std::shared_ptr<::dolfin::Expression> made(library.symbol<::dolfin::Expression*()>("create_expression")());
  for (const auto& [name, value] : constants)
    made->set_property(name, value);
  return made;
}

} // namespace dijitso::dolfin

#endif // C++17
#endif
