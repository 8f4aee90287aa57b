// SPDX-License-Identifier: MIT OR Apache-2.0
/// @file dijitso_dolfinx.hpp
/// Forms and expressions of DOLFINx from the text of a UFL file. Header only, on top of dijitso_ffcx.hpp; written for
/// DOLFINx 0.5.
///
///     const auto module = dijitso::dolfinx::compile(ufl, comm);
///     const auto a = dijitso::dolfinx::form<double>(module, "a", {V, V}, {}, {});
///
/// What is made of a module is valid until the process ends, because libraries are never unloaded.
#ifndef DIJITSO_DOLFINX_HPP
#define DIJITSO_DOLFINX_HPP

#include <dijitso_ffcx.hpp>

#include <dolfinx/fem/Constant.h>
#include <dolfinx/fem/Expression.h>
#include <dolfinx/fem/Form.h>
#include <dolfinx/fem/Function.h>
#include <dolfinx/fem/FunctionSpace.h>
#include <dolfinx/fem/utils.h>

namespace dijitso::dolfinx
{

using ffcx::compile;
using ffcx::compile_file;
using ffcx::module;

/// Coefficients by their names in the UFL file.
template <class T>
using coefficients = std::map<std::string, std::shared_ptr<const ::dolfinx::fem::Function<T>>>;

/// Constants by their names in the UFL file.
template <class T>
using constants = std::map<std::string, std::shared_ptr<const ::dolfinx::fem::Constant<T>>>;

/// Function spaces, one for each argument: of the test function before that of the trial function.
using spaces = std::vector<std::shared_ptr<const ::dolfinx::fem::FunctionSpace>>;

/// Markers of subdomains by the kind of integral.
using subdomains = std::map<::dolfinx::fem::IntegralType, const ::dolfinx::mesh::MeshTags<int>*>;

/// Makes the function space of an argument or a coefficient of a form.
/// @param module from compile()
/// @param name the form: its variable in the UFL file
/// @param function the variable of the argument or coefficient in the UFL file
/// @param mesh the mesh
/// @throws std::runtime_error if the form has no such function
/// @note Collective over the communicator of the mesh, because DOLFINx numbers the degrees of freedom.
inline std::shared_ptr<::dolfinx::fem::FunctionSpace> function_space(const module& module, const std::string& name,
                                                                    const std::string& function,
                                                                    const std::shared_ptr<::dolfinx::mesh::Mesh>& mesh)
{
  const auto find = module.library().symbol<ufcx_function_space*(const char*)>(
      "functionspace_form_" + module.library().signature() + "_" + name);
  if (!find(function.c_str()))
    throw std::runtime_error("the form " + name + " has no function " + function);
  return std::make_shared<::dolfinx::fem::FunctionSpace>(::dolfinx::fem::create_functionspace(find, function, mesh));
}

/// Makes a form of a module. Local.
/// @param module from compile()
/// @param name its variable in the UFL file
/// @param arguments function spaces
/// @param functions coefficients
/// @param values constants
/// @param markers subdomains
/// @param mesh needed if the form has no arguments
/// @throws std::runtime_error if a coefficient or a constant is missing
template <class T>
std::shared_ptr<::dolfinx::fem::Form<T>> form(const module& module, const std::string& name, const spaces& arguments,
                                              const coefficients<T>& functions = {}, const constants<T>& values = {},
                                              const subdomains& markers = {},
                                              const std::shared_ptr<const ::dolfinx::mesh::Mesh>& mesh = nullptr)
{
  return std::make_shared<::dolfinx::fem::Form<T>>(
      ::dolfinx::fem::create_form<T>(module.form(name), arguments, functions, values, markers, mesh));
}

/// Makes an expression of a module. Local.
/// @param module from compile()
/// @param name as for ffcx::module::expression()
/// @param functions coefficients
/// @param values constants
/// @param mesh needed if there are no coefficients
/// @param argument function space of the argument, if the expression has one
/// @throws std::runtime_error if a coefficient or a constant is missing
template <class T>
std::shared_ptr<::dolfinx::fem::Expression<T>>
expression(const module& module, const std::string& name, const coefficients<T>& functions = {},
           const constants<T>& values = {}, const std::shared_ptr<const ::dolfinx::mesh::Mesh>& mesh = nullptr,
           const std::shared_ptr<const ::dolfinx::fem::FunctionSpace>& argument = nullptr)
{
  return std::make_shared<::dolfinx::fem::Expression<T>>(
      ::dolfinx::fem::create_expression<T>(module.expression(name), functions, values, mesh, argument));
}

} // namespace dijitso::dolfinx

#endif
