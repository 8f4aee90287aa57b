//! The colours of nodes in graphs. Eyes that see no red or no green can tell them apart, and text on them can
//! be read. States that need attention have a border of their own, too.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use clap::ValueEnum;

use dijitso::plan::view::{NodeView, PlanView, State};

/// The meaning of the colour of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ColorBy {
    /// The state.
    State,
    /// The name of the library or of the task.
    Name,
    /// Nothing: all have the same colour.
    None,
}

/// The border of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Border {
    Thin,
    /// Of a node that has failed.
    Thick,
    /// Of a node that is blocked.
    Dashed,
}

/// Colours of the area and of the border of a node, on a light and on a dark page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodeColors {
    pub(super) fill: &'static str,
    pub(super) line: &'static str,
    pub(super) dark_fill: &'static str,
    pub(super) dark_line: &'static str,
}

const fn colors(
    fill: &'static str,
    line: &'static str,
    dark_fill: &'static str,
    dark_line: &'static str,
) -> NodeColors {
    NodeColors { fill, line, dark_fill, dark_line }
}

/// The colour of no meaning.
const PLAIN: NodeColors = colors("#ffffff", "#6e6e6e", "#161616", "#a0a0a0");
const GREY: NodeColors = colors("#f0f0f0", "#6e6e6e", "#2d2d2d", "#a0a0a0");
const GREEN: NodeColors = colors("#d3ebdf", "#00785a", "#123f30", "#35b58b");
const BLUE: NodeColors = colors("#d5e9f8", "#0069a6", "#12374f", "#56b4e9");
const YELLOW: NodeColors = colors("#fbf2bd", "#807000", "#423a0d", "#d9c53a");
const VERMILION: NodeColors = colors("#f9d0b8", "#ad4300", "#591f00", "#ff8a4c");
const PURPLE: NodeColors = colors("#eedbe7", "#8f4878", "#45263b", "#d98ab8");
const ORANGE: NodeColors = colors("#fde3b3", "#946200", "#4a3100", "#e69f00");
const BROWN: NodeColors = colors("#e3d9cf", "#6b4f33", "#3b2e22", "#b99a7c");

/// Colours of names, those that are furthest apart first.
const OF_NAMES: [NodeColors; 7] = [BLUE, ORANGE, GREEN, PURPLE, YELLOW, VERMILION, BROWN];

/// Nodes of one colour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ColorClass {
    /// Its text in the legend.
    pub(super) title: String,
    pub(super) colors: NodeColors,
    /// The border that all its nodes have.
    pub(super) border: Border,
}

/// The colours of the nodes of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ColorClasses {
    /// The classes that have nodes, in the order of the legend.
    pub(super) classes: Vec<ColorClass>,
    /// The class of each node.
    pub(super) of: Vec<usize>,
}

/// Returns the word for the state of a node, which is `stale` if it was done once and is not up to date.
pub(super) fn state_word(node: &NodeView) -> &'static str {
    let is_stale = node.stale && matches!(node.state, State::Todo | State::Done);
    if is_stale { "stale" } else { node.state.word() }
}

/// Returns the border of a node.
pub(super) fn border(node: &NodeView) -> Border {
    match node.state {
        State::Failed => Border::Thick,
        State::Blocked => Border::Dashed,
        _ => Border::Thin,
    }
}

impl ColorClasses {
    /// Returns the colours of the nodes of a plan.
    pub(super) fn new(view: &PlanView, by: ColorBy) -> Self {
        match by {
            ColorBy::State => Self::by_state(view),
            ColorBy::Name => Self::by_name(view),
            ColorBy::None => {
                let class = ColorClass { title: String::new(), colors: PLAIN, border: Border::Thin };
                Self { classes: vec![class], of: vec![0; view.nodes.len()] }
            }
        }
    }

    fn by_state(view: &PlanView) -> Self {
        const STATES: [(&str, NodeColors, Border); 6] = [
            ("todo", GREY, Border::Thin),
            ("running", BLUE, Border::Thin),
            ("done", GREEN, Border::Thin),
            ("stale", YELLOW, Border::Thin),
            ("failed", VERMILION, Border::Thick),
            ("blocked", PURPLE, Border::Dashed),
        ];
        let words: Vec<&str> = view.nodes.iter().map(state_word).collect();
        let present: Vec<_> = STATES.into_iter().filter(|(word, ..)| words.contains(word)).collect();
        let class = |(word, colors, border): &(&str, _, _)| ColorClass {
            title: (*word).to_owned(),
            colors: *colors,
            border: *border,
        };
        let place = |word: &&str| present.iter().position(|(state, ..)| state == word).unwrap_or_default();
        Self { classes: present.iter().map(class).collect(), of: words.iter().map(place).collect() }
    }

    /// The names of most nodes have a colour each, the other ones are grey.
    fn by_name(view: &PlanView) -> Self {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        view.nodes.iter().for_each(|node| *counts.entry(&node.name).or_default() += 1);
        let mut names: Vec<(&str, usize)> = counts.into_iter().collect();
        names.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let class =
            |title: &str, colors| ColorClass { title: title.to_owned(), colors, border: Border::Thin };
        let others = names.len().saturating_sub(OF_NAMES.len());
        names.truncate(OF_NAMES.len());
        let mut classes: Vec<ColorClass> =
            names.iter().zip(OF_NAMES).map(|((name, _), colors)| class(name, colors)).collect();
        if others > 0 {
            classes.push(class(&dijitso::human::count(others, "other name", "other names"), GREY));
        }
        let place =
            |node: &NodeView| names.iter().position(|(name, _)| *name == node.name).unwrap_or(OF_NAMES.len());
        Self { of: view.nodes.iter().map(place).collect(), classes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dijitso::plan::sample::{made, node, plan};

    /// Returns the relative luminance of `#rrggbb`, as WCAG defines it.
    fn luminance(color: &str) -> f64 {
        let part = |at: usize| {
            let value = f64::from(u8::from_str_radix(&color[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
    }

    fn contrast(a: &str, b: &str) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn texts_can_be_read_and_borders_be_seen() {
        for colors in OF_NAMES.iter().chain([&GREY, &PLAIN]) {
            assert!(contrast(colors.fill, "#1a1a1a") > 7.0, "{colors:?}");
            assert!(contrast(colors.dark_fill, "#f2f2f2") > 7.0, "{colors:?}");
            assert!(contrast(colors.line, "#ffffff") > 4.0, "{colors:?}");
            assert!(contrast(colors.dark_line, "#161616") > 4.0, "{colors:?}");
        }
    }

    #[test]
    fn only_classes_that_have_nodes_are_in_the_legend() {
        let classes = ColorClasses::new(&made(64), ColorBy::State);
        let titles: Vec<&str> = classes.classes.iter().map(|class| class.title.as_str()).collect();
        assert_eq!(titles, ["done", "failed", "blocked"]);
        let mut old = node("a", 1.0, &[]);
        (old.stale, old.state) = (true, State::Done);
        assert_eq!(ColorClasses::new(&plan(vec![old]), ColorBy::State).classes[0].title, "stale");
    }

    #[test]
    fn rare_names_share_a_colour() {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "h"];
        let view = plan(names.iter().map(|name| node(name, 1.0, &[])).collect());
        let classes = ColorClasses::new(&view, ColorBy::Name);
        assert_eq!(classes.classes.len(), 8);
        assert_eq!(
            (classes.classes[0].title.as_str(), classes.classes[7].title.as_str()),
            ("h", "2 other names")
        );
        assert_eq!(classes.of, [1, 2, 3, 4, 5, 6, 7, 0, 7, 0]);
    }
}
