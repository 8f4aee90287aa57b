//! The places of nodes and edges in a layered drawing: a column for each layer, from left to right.
//!
//! Nodes of a column are ordered by the mean place of their neighbours, which leaves few crossings, and then
//! moved towards their neighbours as far as the nodes above and below allow. An edge that spans several
//! columns gets a free place in each. A plan with a very large layer has no room for that: its layers take
//! several columns, and edges run behind the nodes.

#![forbid(unsafe_code)]

use dijitso::plan::analysis::layers;
use dijitso::plan::view::PlanView;

use super::drawing::GraphEdge;

/// The height of a node.
pub(super) const HEIGHT: f64 = 26.0;
/// Space between two nodes of a column.
const NODE_GAP: f64 = 10.0;
/// The height of the free place of an edge.
const LANE: f64 = 6.0;
/// Space between two columns of one layer.
const COLUMN_GAP: f64 = 28.0;
/// Space between two layers, at least and at most: many edges need more.
const LEVEL_GAP: (f64, f64) = (56.0, 180.0);
/// Rounds over all columns, there and back.
const ROUNDS: usize = 8;
/// The most free places for edges; with more of them the drawing would show edges alone.
const MAX_LANES: usize = 60_000;

/// A point of a drawing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct DrawingPoint {
    pub(super) x: f64,
    pub(super) y: f64,
}

/// A part of edges: from the right side of a node or a free place to the left side of another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct EdgePart {
    pub(super) from: DrawingPoint,
    pub(super) to: DrawingPoint,
    pub(super) order_only: bool,
    /// True if it ends at a node.
    pub(super) is_last: bool,
}

/// Places of nodes and edges. The smallest coordinates are 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct GraphPlacement {
    /// The left upper corner of each node.
    pub(super) corners: Vec<DrawingPoint>,
    /// The width of each node.
    pub(super) widths: Vec<f64>,
    pub(super) parts: Vec<EdgePart>,
    pub(super) width: f64,
    pub(super) height: f64,
    /// True if edges run behind nodes.
    pub(super) is_dense: bool,
}

/// A node, or a free place for edges.
#[derive(Clone, Copy, Debug)]
struct PlacedItem {
    column: usize,
    node: Option<usize>,
}

impl PlacedItem {
    fn height(self) -> f64 {
        if self.node.is_some() { HEIGHT } else { LANE }
    }
}

/// The items of a drawing and their connections while they are placed.
struct LayeredItems {
    items: Vec<PlacedItem>,
    /// Connections of items: from, to, order only.
    links: Vec<(usize, usize, bool)>,
    /// The items of each column, from top to bottom.
    columns: Vec<Vec<usize>>,
    before: Vec<Vec<usize>>,
    after: Vec<Vec<usize>>,
}

/// Places nodes of these widths and the edges between them.
pub(super) fn place(view: &PlanView, edges: &[GraphEdge], widths: Vec<f64>) -> GraphPlacement {
    // Columns are counted from 0.
    let layers: Vec<usize> = layers(view).into_iter().map(|layer| layer - 1).collect();
    let count = layers.iter().max().map_or(0, |layer| layer + 1);
    let mut sizes = vec![0; count];
    layers.iter().for_each(|layer| sizes[*layer] += 1);
    let most = most_rows(view.nodes.len());
    let is_dense = sizes.iter().any(|size| *size > most) || lanes(edges, &layers) > MAX_LANES;
    let mut layered = LayeredItems::new(&layers, edges, count, is_dense);
    layered.order();
    let mut layer_of_column: Vec<usize> = (0..count).collect();
    if is_dense {
        layer_of_column = layered.split(most);
    }
    let centres = layered.centres(is_dense);
    GraphPlacement { is_dense, ..layered.finish(&layer_of_column, &centres, widths) }
}

/// Returns the most nodes of a column: a few thousand nodes would make it endless.
fn most_rows(nodes: usize) -> usize {
    (2 * nodes.isqrt()).max(64)
}

/// Returns the number of free places that edges need, at most.
fn lanes(edges: &[GraphEdge], layers: &[usize]) -> usize {
    edges.iter().map(|edge| layers[edge.to].saturating_sub(layers[edge.from] + 1)).sum()
}

impl LayeredItems {
    fn new(layers: &[usize], edges: &[GraphEdge], count: usize, is_dense: bool) -> Self {
        let items =
            layers.iter().enumerate().map(|(node, layer)| PlacedItem { column: *layer, node: Some(node) });
        let mut all = Self {
            items: items.collect(),
            links: Vec::new(),
            columns: vec![Vec::new(); count],
            before: Vec::new(),
            after: Vec::new(),
        };
        // The edges of one node share their free places.
        let mut sorted: Vec<&GraphEdge> = edges.iter().collect();
        sorted.sort_by_key(|edge| (edge.from, edge.order_only, layers[edge.to], edge.to));
        let mut chain: (Option<(usize, bool)>, Vec<usize>) = (None, Vec::new());
        for edge in sorted {
            if chain.0 != Some((edge.from, edge.order_only)) {
                chain = (Some((edge.from, edge.order_only)), Vec::new());
            }
            // Only in a cycle an edge leads to an earlier layer.
            let between = if is_dense { 0 } else { layers[edge.to].saturating_sub(layers[edge.from] + 1) };
            while chain.1.len() < between {
                let column = layers[edge.from] + chain.1.len() + 1;
                let last = chain.1.last().copied().unwrap_or(edge.from);
                all.items.push(PlacedItem { column, node: None });
                chain.1.push(all.items.len() - 1);
                all.links.push((last, all.items.len() - 1, edge.order_only));
            }
            let last = if between == 0 { edge.from } else { chain.1[between - 1] };
            all.links.push((last, edge.to, edge.order_only));
        }
        (all.before, all.after) = (vec![Vec::new(); all.items.len()], vec![Vec::new(); all.items.len()]);
        for &(from, to, _) in &all.links {
            all.after[from].push(to);
            all.before[to].push(from);
        }
        for (index, item) in all.items.iter().enumerate() {
            all.columns[item.column].push(index);
        }
        all
    }

    /// Orders the items of each column by the mean place of their neighbours before and after.
    fn order(&mut self) {
        #[allow(clippy::cast_precision_loss, reason = "there are fewer than 2^53 nodes")]
        let relative = |at: usize, of: usize| (at as f64 + 0.5) / of as f64;
        let mut place = vec![0.0; self.items.len()];
        for column in &self.columns {
            column.iter().enumerate().for_each(|(at, item)| place[*item] = relative(at, column.len()));
        }
        let count = self.columns.len();
        for round in 0..=ROUNDS {
            let forth = round % 2 == 0;
            for step in 0..count {
                let index = if forth { step } else { count - 1 - step };
                let neighbours = if forth { &self.before } else { &self.after };
                let column = &mut self.columns[index];
                let mut keys: Vec<(f64, usize)> = column
                    .iter()
                    .map(|item| (mean(&neighbours[*item], &place).unwrap_or(place[*item]), *item))
                    .collect();
                // A stable sort: items with the same neighbours stay in their order.
                keys.sort_by(|a, b| a.0.total_cmp(&b.0));
                *column = keys.into_iter().map(|(_, item)| item).collect();
                column.iter().enumerate().for_each(|(at, item)| place[*item] = relative(at, column.len()));
            }
        }
    }

    /// Splits columns that have more items than `most`. Returns the former column of each.
    fn split(&mut self, most: usize) -> Vec<usize> {
        let (mut columns, mut former) = (Vec::new(), Vec::new());
        for (index, column) in std::mem::take(&mut self.columns).into_iter().enumerate() {
            // Columns of about the same length look better than a short last one.
            let parts = column.len().div_ceil(most).max(1);
            for part in column.chunks(column.len().div_ceil(parts).max(1)) {
                part.iter().for_each(|item| self.items[*item].column = columns.len());
                columns.push(part.to_vec());
                former.push(index);
            }
        }
        self.columns = columns;
        former
    }

    /// Returns the vertical centre of each item.
    fn centres(&self, is_dense: bool) -> Vec<f64> {
        let mut centres = vec![0.0; self.items.len()];
        for column in &self.columns {
            let mut y = 0.0;
            for (at, item) in column.iter().enumerate() {
                y += if at == 0 { 0.0 } else { self.distance(column[at - 1], *item) };
                centres[*item] = y;
            }
            // The columns of a dense drawing begin at the top, so that its corner is not empty.
            let middle = if is_dense { 0.0 } else { y / 2.0 };
            column.iter().for_each(|item| centres[*item] -= middle);
        }
        let count = self.columns.len();
        for round in 0..if is_dense { 0 } else { ROUNDS } {
            let forth = round % 2 == 0;
            for step in 1..count {
                let index = if forth { step } else { count - 1 - step };
                let neighbours = if forth { &self.before } else { &self.after };
                self.align(&self.columns[index], neighbours, &mut centres);
            }
        }
        self.close_up(&mut centres);
        centres
    }

    /// Moves items without neighbours to the item above. Nothing else moves them.
    fn close_up(&self, centres: &mut [f64]) {
        let is_alone = |item: usize| self.before[item].is_empty() && self.after[item].is_empty();
        for column in &self.columns {
            for pair in column.windows(2).filter(|pair| is_alone(pair[1])) {
                centres[pair[1]] = centres[pair[0]] + self.distance(pair[0], pair[1]);
            }
        }
    }

    /// Returns the distance between the centres of two items, the second below the first.
    fn distance(&self, above: usize, below: usize) -> f64 {
        let (above, below) = (self.items[above], self.items[below]);
        let gap = if above.node.is_some() && below.node.is_some() { NODE_GAP } else { NODE_GAP / 2.0 };
        f64::midpoint(above.height(), below.height()) + gap
    }

    /// Moves the items of a column towards their neighbours, as near as their order allows (least squares):
    /// items that push each other move together, by the mean of their wishes.
    fn align(&self, column: &[usize], neighbours: &[Vec<usize>], centres: &mut [f64]) {
        // Blocks of items that touch: sum of wishes of the first item, weight, number of items.
        let mut blocks: Vec<(f64, f64, usize)> = Vec::new();
        let mut offset = 0.0;
        let mut offsets = Vec::with_capacity(column.len());
        for (at, item) in column.iter().enumerate() {
            offset += if at == 0 { 0.0 } else { self.distance(column[at - 1], *item) };
            offsets.push(offset);
            let wish = mean(&neighbours[*item], centres).unwrap_or(centres[*item]);
            // Long edges that are straight are easier to follow.
            let weight = if self.items[*item].node.is_none() { 4.0 } else { 1.0 };
            let mut block = (weight * (wish - offset), weight, 1);
            while let Some(last) = blocks.pop_if(|last| last.0 / last.1 >= block.0 / block.1) {
                block = (last.0 + block.0, last.1 + block.1, last.2 + block.2);
            }
            blocks.push(block);
        }
        let mut at = 0;
        for (sum, weight, count) in blocks {
            for _ in 0..count {
                centres[column[at]] = sum / weight + offsets[at];
                at += 1;
            }
        }
    }

    /// Returns the places, with columns as wide as their nodes.
    fn finish(self, layer_of_column: &[usize], centres: &[f64], widths: Vec<f64>) -> GraphPlacement {
        let bounds = |sign: f64| {
            let edge = |(item, centre): (&PlacedItem, &f64)| sign * centre + item.height() / 2.0;
            self.items.iter().zip(centres).map(edge).fold(f64::NEG_INFINITY, f64::max)
        };
        let (top, bottom) = (-bounds(-1.0), bounds(1.0));
        let (mut lefts, mut column_widths, mut x) = (Vec::new(), Vec::new(), 0.0);
        for (index, column) in self.columns.iter().enumerate() {
            if index > 0 {
                let links: usize = column.iter().map(|item| self.before[*item].len()).sum();
                #[allow(clippy::cast_precision_loss, reason = "is cut to a small number")]
                let wide = (LEVEL_GAP.0 + links as f64).min(LEVEL_GAP.1);
                let same = layer_of_column[index] == layer_of_column[index - 1];
                x += if same { COLUMN_GAP } else { wide };
            }
            let nodes = column.iter().filter_map(|item| self.items[*item].node);
            let width = nodes.map(|node| widths[node]).fold(0.0, f64::max);
            lefts.push(x);
            column_widths.push(width);
            x += width;
        }
        let corner = |item: usize| {
            let (column, height) = (self.items[item].column, self.items[item].height());
            DrawingPoint { x: lefts[column], y: centres[item] - height / 2.0 - top }
        };
        let side = |item: usize, right: bool| {
            let placed = self.items[item];
            // A free place is a line through the column.
            let width = placed.node.map_or(column_widths[placed.column], |node| widths[node]);
            let x = lefts[placed.column] + if right { width } else { 0.0 };
            DrawingPoint { x, y: centres[item] - top }
        };
        let mut parts = Vec::with_capacity(self.links.len());
        for &(from, to, order_only) in &self.links {
            let is_last = self.items[to].node.is_some();
            parts.push(EdgePart { from: side(from, true), to: side(to, false), order_only, is_last });
            if !is_last {
                let (from, to) = (side(to, false), side(to, true));
                parts.push(EdgePart { from, to, order_only, is_last });
            }
        }
        let corners = (0..widths.len()).map(corner).collect();
        let height = if self.items.is_empty() { 0.0 } else { bottom - top };
        GraphPlacement { corners, widths, parts, width: x, height, is_dense: false }
    }
}

/// Returns the mean place of items; `None` if there are none.
fn mean(items: &[usize], places: &[f64]) -> Option<f64> {
    #[allow(clippy::cast_precision_loss, reason = "there are fewer than 2^53 nodes")]
    let count = items.len() as f64;
    (!items.is_empty()).then(|| items.iter().map(|item| places[*item]).sum::<f64>() / count)
}
