// SPDX-License-Identifier: MIT OR Apache-2.0
// The solution as bands of one colour each. It is linear on a triangle, so the part of a triangle between two values is a polygon,
// and the picture is exact at any size.
#include "agreement.hpp"
#include "picture.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <map>
#include <set>
#include <stdexcept>
#include <utility>

namespace
{

using point = std::array<double, 3>; // x, y, u
using corners = std::array<point, 3>;

// A triangle and the rank that owns it.
struct drawn_triangle
{
  corners at;
  int rank;
};

// Hands all triangles to rank 0; the others get none. Collective over the communicator of the mesh.
std::vector<drawn_triangle> gather(const mesh& domain, const std::vector<double>& u)
{
  constexpr std::size_t numbers = 9;
  std::vector<double> mine;
  for (const triangle& cell : domain.triangles)
    if (cell.owned)
      for (const std::size_t v : cell.vertices)
        mine.insert(mine.end(), {domain.coordinates[v][0], domain.coordinates[v][1], u[v]});

  int rank = 0, size = 1;
  MPI_Comm_rank(domain.comm, &rank);
  MPI_Comm_size(domain.comm, &size);
  const int count = static_cast<int>(mine.size());
  std::vector<int> counts(static_cast<std::size_t>(size)), begins(counts.size() + 1);
  MPI_Gather(&count, 1, MPI_INT, counts.data(), 1, MPI_INT, 0, domain.comm);
  for (std::size_t r = 0; r < counts.size(); ++r)
    begins[r + 1] = begins[r] + counts[r];
  std::vector<double> all(static_cast<std::size_t>(begins.back()));
  MPI_Gatherv(mine.data(), count, MPI_DOUBLE, all.data(), counts.data(), begins.data(), MPI_DOUBLE, 0, domain.comm);

  std::vector<drawn_triangle> gathered;
  if (rank == 0)
    for (int owner = 0; owner < size; ++owner)
      for (auto i = static_cast<std::size_t>(begins[static_cast<std::size_t>(owner)]);
           i < static_cast<std::size_t>(begins[static_cast<std::size_t>(owner) + 1]); i += numbers)
        gathered.push_back({{{{all[i], all[i + 1], all[i + 2]},
                              {all[i + 3], all[i + 4], all[i + 5]},
                              {all[i + 6], all[i + 7], all[i + 8]}}},
                            owner});
  return gathered;
}

// --- the scale ----------------------------------------------------------------------------------------------------------

// Bands between round numbers: from low in `count` steps.
struct scale
{
  double low, step;
  int count;
  double level(int i) const { return low + step * i; }
};

scale round_scale(double smallest, double largest)
{
  const double range = std::max(largest - smallest, 1e-12 * std::max(1.0, std::abs(largest)));
  const double wanted = range / 20;
  const double power = std::pow(10, std::floor(std::log10(wanted)));
  double step = 10 * power;
  for (const double digit : {5.0, 2.0, 1.0})
    if (digit * power >= wanted)
      step = digit * power;
  // Rounding of the solver's last digits needs no band of its own.
  const double low = step * std::floor(smallest / step + 1e-6);
  return {low, step, std::max(1, static_cast<int>(std::ceil((largest - low) / step - 1e-6)))};
}

// From dark blue over green to yellow; its lightness grows evenly, so that it reads in grey, too.
std::string colour(double part)
{
  constexpr std::array<std::array<double, 3>, 6> anchors = {
      {{42, 24, 92}, {47, 73, 142}, {34, 119, 149}, {44, 165, 134}, {133, 204, 96}, {250, 232, 92}}};
  const double place = std::clamp(part, 0.0, 1.0) * (anchors.size() - 1);
  const auto below = std::min(static_cast<std::size_t>(place), anchors.size() - 2);
  const double share = place - static_cast<double>(below);
  std::array<int, 3> mixed;
  for (std::size_t i = 0; i < 3; ++i)
    mixed[i] = static_cast<int>(std::lround((1 - share) * anchors[below][i] + share * anchors[below + 1][i]));
  char text[8];
  std::snprintf(text, sizeof text, "#%02x%02x%02x", mixed[0] & 255, mixed[1] & 255, mixed[2] & 255);
  return text;
}

std::string number(double value)
{
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", std::abs(value) < 1e-12 ? 0.0 : value);
  return text;
}

// --- shapes -------------------------------------------------------------------------------------------------------------

// The picture has 800 x 760 units; the unit square is 560 of them, and drawn in tenths.
constexpr int side = 5600, left = 70, top = 110, right_edge = left + side / 10, bottom_edge = top + side / 10;

std::string place(const point& at)
{
  return std::to_string(std::lround(at[0] * side)) + ' ' + std::to_string(std::lround((1 - at[1]) * side));
}

// Cuts off what lies below `level` (or above it, if sign is -1).
std::vector<point> cut(const std::vector<point>& polygon, double level, double sign)
{
  std::vector<point> kept;
  for (std::size_t i = 0; i < polygon.size(); ++i)
  {
    const point &from = polygon[i], &to = polygon[(i + 1) % polygon.size()];
    const double at_from = sign * (from[2] - level), at_to = sign * (to[2] - level);
    if (at_from >= 0)
      kept.push_back(from);
    if ((at_from >= 0) != (at_to >= 0))
    {
      const double share = at_from / (at_from - at_to);
      kept.push_back({from[0] + share * (to[0] - from[0]), from[1] + share * (to[1] - from[1]), level});
    }
  }
  return kept;
}

// A band is a path of its polygons. Its outline of the same colour covers the seams.
void draw_bands(std::ostream& out, const std::vector<drawn_triangle>& triangles, const scale& bands)
{
  for (int band = 0; band < bands.count; ++band)
  {
    const std::string fill = colour((band + 0.5) / bands.count);
    out << "<path class=\"band\" fill=\"" << fill << "\" stroke=\"" << fill << "\" d=\"";
    for (const drawn_triangle& drawn : triangles)
    {
      std::vector<point> polygon(drawn.at.begin(), drawn.at.end());
      // The first and the last band are open: rounding leaves no hole.
      if (band > 0)
        polygon = cut(polygon, bands.level(band), 1);
      if (band + 1 < bands.count)
        polygon = cut(polygon, bands.level(band + 1), -1);
      for (std::size_t i = 0; i < polygon.size() && polygon.size() > 2; ++i)
        out << (i == 0 ? "M" : i == 1 ? "L" : " ") << place(polygon[i]) << (i + 1 == polygon.size() ? "z" : "");
    }
    out << "\"/>\n";
  }
}

// Each edge of the mesh once; between two ranks a second time, in another style.
void draw_edges(std::ostream& out, const std::vector<drawn_triangle>& triangles)
{
  using vertex = std::pair<double, double>;
  std::map<std::pair<vertex, vertex>, std::set<int>> owners;
  for (const drawn_triangle& drawn : triangles)
    for (std::size_t i = 0; i < 3; ++i)
    {
      const point &a = drawn.at[i], &b = drawn.at[(i + 1) % 3];
      owners[std::minmax(vertex{a[0], a[1]}, vertex{b[0], b[1]})].insert(drawn.rank);
    }
  for (const bool between_ranks : {false, true})
  {
    out << "<path class=\"" << (between_ranks ? "ranks" : "mesh") << "\" fill=\"none\" d=\"";
    for (const auto& [edge, ranks] : owners)
      if (!between_ranks || ranks.size() > 1)
        out << 'M' << place({edge.first.first, edge.first.second, 0}) << 'L' << place({edge.second.first, edge.second.second, 0});
    out << "\"/>\n";
  }
}

std::string escaped(const std::string& text)
{
  std::string safe;
  for (const char c : text)
    safe += c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : std::string(1, c);
  return safe;
}

void write_text(std::ostream& out, double x, double y, const char* style, const std::string& text)
{
  out << "<text x=\"" << x << "\" y=\"" << y << "\" class=\"" << style << "\">" << escaped(text) << "</text>\n";
}

void draw_axes(std::ostream& out)
{
  out << "<rect x=\"" << left << "\" y=\"" << top << "\" width=\"" << side / 10 << "\" height=\"" << side / 10
      << "\" fill=\"none\" stroke=\"#222\"/>\n";
  for (const double tick : {0.0, 0.5, 1.0})
  {
    write_text(out, left + tick * side / 10, bottom_edge + 26, "middle", number(tick));
    write_text(out, left - 10, bottom_edge - tick * side / 10 + 7, "end", number(tick));
  }
  write_text(out, left + side / 40.0, bottom_edge + 26, "middle name", "x");
  write_text(out, left - 10, bottom_edge - side / 40.0 + 7, "end name", "y");
}

// A box of each colour, and about six numbers beside them.
void draw_scale(std::ostream& out, const scale& bands)
{
  const int x = right_edge + 30;
  const double height = side / 10.0 / bands.count;
  const int every = (bands.count + 5) / 6;
  for (int band = 0; band < bands.count; ++band)
    out << "<rect x=\"" << x << "\" y=\"" << bottom_edge - (band + 1) * height << "\" width=\"34\" height=\"" << height + 0.4
        << "\" fill=\"" << colour((band + 0.5) / bands.count) << "\"/>\n";
  out << "<rect x=\"" << x << "\" y=\"" << top << "\" width=\"34\" height=\"" << side / 10 << "\" fill=\"none\" stroke=\"#222\"/>\n";
  for (int level = 0; level <= bands.count; level += every)
    write_text(out, x + 44, bottom_edge - level * height + 7, "start", number(bands.level(level)));
  write_text(out, x + 17, top - 12, "middle name", "u");
}

// Names each rank at the middle of its part.
void name_ranks(std::ostream& out, const std::vector<drawn_triangle>& triangles)
{
  std::map<int, std::array<double, 3>> sums;
  for (const drawn_triangle& drawn : triangles)
    for (const point& at : drawn.at)
    {
      auto& [x, y, count] = sums[drawn.rank];
      x += at[0];
      y += at[1];
      count += 1;
    }
  if (sums.size() > 1 && sums.size() <= 16)
    for (const auto& [rank, sum] : sums)
      write_text(out, left + sum[0] / sum[2] * side / 10, bottom_edge - sum[1] / sum[2] * side / 10 + 7, "middle rank",
                 "rank " + std::to_string(rank));
}

void draw(std::ostream& out, const caption& text, const std::vector<drawn_triangle>& triangles)
{
  double smallest = triangles.front().at[0][2], largest = smallest;
  for (const drawn_triangle& drawn : triangles)
    for (const point& at : drawn.at)
    {
      smallest = std::min(smallest, at[2]);
      largest = std::max(largest, at[2]);
    }
  const scale bands = round_scale(smallest, largest);

  out << R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 720" font-family="sans-serif" font-size="20" fill="#222">
<style>
.title { font-size: 25px; font-weight: bold } .middle { text-anchor: middle } .end { text-anchor: end } .name { font-style: italic }
.band { stroke-width: 4 } .mesh { stroke: #fff; stroke-opacity: 0.3; stroke-width: 5 }
.ranks { stroke: #fff; stroke-width: 24; stroke-dasharray: 90 60 }
.rank { fill: #fff; stroke: #222; stroke-opacity: 0.7; stroke-width: 4; paint-order: stroke; stroke-linejoin: round }
</style>
)";
  out << "<title>" << escaped(text.title) << "</title>\n<rect width=\"800\" height=\"720\" fill=\"#fff\"/>\n";
  write_text(out, left, 40, "title", text.title);
  write_text(out, left, 74, "subtitle", text.subtitle);
  out << "<g transform=\"translate(" << left << ' ' << top << ") scale(0.1)\">\n";
  draw_bands(out, triangles, bands);
  draw_edges(out, triangles);
  out << "</g>\n";
  draw_axes(out);
  draw_scale(out, bands);
  name_ranks(out, triangles);
  out << "</svg>\n";
}

} // namespace

void write_svg(const std::string& directory, const caption& text, const mesh& domain, const std::vector<double>& u)
{
  const std::vector<drawn_triangle> triangles = gather(domain, u);
  on_every_rank(domain.comm, [&] {
    if (triangles.empty())
      return true;
    const std::string path = directory + "/poisson.svg";
    std::ofstream out(path);
    draw(out, text, triangles);
    out.close();
    if (!out)
      throw std::runtime_error("cannot write " + path);
    return true;
  });
}
