//! The snapshot for other programs: JSON for scripts, DOT for Graphviz.
//!
//! Names come from peers at times. In JSON every control character is escaped, in DOT quotes, backslashes, ampersands and line
//! breaks are, so that no name ends its own string. `docs/supervision.md` has the schema of the JSON.

use super::BudgetView;
use super::snapshot::{LinkView, Snapshot, one_line};
use crate::component::link::Waiting;
use crate::proto::budget::Standing;
use crate::proto::link::{Count, Credit, Limit, LinkState};
use std::fmt::Write as _;
use std::time::Duration;

impl LinkView {
    /// What the producer may still send: the limit less what it has sent. None once either end is over.
    ///
    /// ```no_run
    /// # async fn f(supervisor: versile_io::supervisor::Supervisor) {
    /// for link in supervisor.snapshot().await.links {
    ///     println!("{}: {} more", link.id, link.credit().quantity);
    /// }
    /// # }
    /// ```
    pub fn credit(&self) -> Credit {
        match self.outlet.is_terminal() || self.inlet.is_terminal() {
            true => Credit::NONE,
            false => self.limit.credit(Count { quantity: self.produced, messages: self.messages }),
        }
    }
}

impl Snapshot {
    /// The graph and all counters as JSON, on one line. `docs/supervision.md` has the schema.
    ///
    /// ```
    /// let nothing = versile_io::supervisor::Snapshot::default();
    /// assert_eq!(nothing.json(), r#"{"components":[],"links":[],"watchers":0}"#);
    /// ```
    pub fn json(&self) -> String {
        let components = self.components.iter().map(|c| {
            let (two_way, rooted) = (c.two_way, c.rooted);
            format!(r#"{{"id":{},"name":{},"two_way":{two_way},"rooted":{rooted}}}"#, c.id.value(), json_text(&c.name))
        });
        let components: Vec<String> = components.collect();
        let links: Vec<String> = self.links.iter().map(json_link).collect();
        let (components, links) = (components.join(","), links.join(","));
        let budget = self.budget.map_or(String::new(), json_budget);
        format!(r#"{{"components":[{components}],"links":[{links}],"watchers":{}{budget}}}"#, self.watchers)
    }

    /// The graph for Graphviz, with what has passed and what may still be sent on each edge. Render it by `dot -Tsvg`.
    ///
    /// ```
    /// let nothing = versile_io::supervisor::Snapshot::default();
    /// assert_eq!(nothing.dot(), "digraph chains {\n  rankdir=LR;\n  node [shape=box];\n}\n");
    /// ```
    pub fn dot(&self) -> String {
        let mut out = String::from("digraph chains {\n  rankdir=LR;\n  node [shape=box];\n");
        // writing to a string does not fail
        for c in &self.components {
            let style = if c.rooted { "" } else { ", style=dashed" };
            let _ = writeln!(out, "  c{} [label=\"{}\"{style}];", c.id.value(), dot_text(&c.name));
        }
        for l in &self.links {
            let (Some(p), Some(c)) = (l.producer, l.consumer) else { continue };
            let over = l.outlet.is_terminal() || l.inlet.is_terminal();
            let style = if over { ", style=dotted" } else { "" };
            let (accepted, produced, credit) = (l.accepted, l.produced, quantity(l.credit().quantity, "unlimited"));
            let _ = writeln!(
                out,
                "  c{} -> c{} [label=\"{accepted} of {produced}, credit {credit}\"{style}];",
                p.value(),
                c.value()
            );
        }
        out.push_str("}\n");
        out
    }
}

/// With the comma before it: a snapshot without a budget says nothing of one.
fn json_budget(budget: BudgetView) -> String {
    let BudgetView { total, outstanding, peak, links, waiting } = budget;
    format!(
        r#","budget":{{"total":{total},"outstanding":{outstanding},"peak":{peak},"links":{links},"waiting":{waiting}}}"#
    )
}

fn json_link(l: &LinkView) -> String {
    let component =
        |id: Option<crate::component::ComponentId>| id.map_or("null".to_owned(), |id| id.value().to_string());
    let credit = l.credit();
    let waiting = match l.waiting {
        Waiting::No => "null",
        Waiting::ForData => r#""data""#,
        Waiting::ForCredit => r#""credit""#,
    };
    let standing = match l.standing {
        None => "",
        Some(Standing::Served) => r#","budget":"served""#,
        Some(Standing::Short) => r#","budget":"short""#,
        Some(Standing::Waiting) => r#","budget":"waiting""#,
    };
    let bound = |q, messages: u64| format!(r#"{{"quantity":{},"messages":{messages}}}"#, quantity(q, "null"));
    [
        format!(r#"{{"id":{}"#, l.id.value()),
        format!(r#""producer":{}"#, component(l.producer)),
        format!(r#""consumer":{}"#, component(l.consumer)),
        format!(r#""outlet":"{}""#, state(l.outlet)),
        format!(r#""inlet":"{}""#, state(l.inlet)),
        format!(r#""produced":{}"#, l.produced),
        format!(r#""accepted":{}"#, l.accepted),
        format!(r#""messages":{}"#, l.messages),
        format!(r#""limit":{}"#, bound(l.limit.quantity, l.limit.messages)),
        format!(r#""credit":{}"#, bound(credit.quantity, credit.messages)),
        format!(r#""queued":{}"#, l.queued),
        format!(r#""held":{}"#, l.held),
        format!(r#""waiting_for":{waiting}"#),
        format!(r#""starved_us":{}"#, micros(l.starved)),
        format!(r#""blocked_us":{}"#, micros(l.blocked)),
        format!(r#""stale":{}{standing}}}"#, l.stale),
    ]
    .join(",")
}

/// No bound is a word of the format's own, since a number of 64 bits is more than many readers of JSON take.
fn quantity(quantity: u64, unlimited: &str) -> String {
    match quantity {
        Limit::UNLIMITED => unlimited.to_owned(),
        bounded => bounded.to_string(),
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn state(state: LinkState) -> &'static str {
    match state {
        LinkState::New => "new",
        LinkState::Open => "open",
        LinkState::EndedClean => "ended clean",
        LinkState::EndedUnclean => "ended unclean",
        LinkState::Aborted => "aborted",
        LinkState::Detached => "detached",
        LinkState::Suspended => "suspended",
    }
}

/// A string of JSON with its quotes.
fn json_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            // the two separators end a line in JavaScript
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Inside a quoted string of DOT: a backslash begins an escape such as `\N`, an ampersand an entity.
fn dot_text(name: &str) -> String {
    one_line(&name.replace('\\', "\\\\").replace('"', "\\\"").replace('&', "&amp;"))
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::tests::{made_up, renumbered};
    use super::*;
    use serde_json::Value;

    fn parsed(snapshot: &Snapshot) -> Value {
        let text = snapshot.json();
        assert!(!text.contains(char::is_control), "one line, and nothing that steers a terminal: {text}");
        serde_json::from_str(&text).expect("JSON")
    }

    /// The numbers are the process's; in the golden file they start at 1.
    fn with_small_numbers(snapshot: &Snapshot) -> Value {
        let mut value = parsed(snapshot);
        let place = |id: &Value| {
            let at = snapshot.components.iter().position(|c| Some(c.id.value()) == id.as_u64());
            at.map_or(Value::Null, |at| (at + 1).into())
        };
        for c in value["components"].as_array_mut().expect("a list") {
            c["id"] = place(&c["id"]);
        }
        for (n, l) in value["links"].as_array_mut().expect("a list").iter_mut().enumerate() {
            assert_eq!(l["id"], snapshot.links[n].id.value());
            l["id"] = (n + 1).into();
            (l["producer"], l["consumer"]) = (place(&l["producer"]), place(&l["consumer"]));
        }
        value
    }

    #[test]
    fn made_up_values_as_json_and_dot() {
        insta::with_settings!({
            snapshot_path => "../../tests/golden", prepend_module_to_snapshot => false, omit_expression => true
        }, {
            let mut snapshot = made_up();
            let json = serde_json::to_string_pretty(&with_small_numbers(&snapshot)).expect("JSON");
            insta::assert_snapshot!("supervisor_snapshot_json", json);
            snapshot.components[3].name = "C:\\N & \"co\"\r\n".into();
            snapshot.links[1].outlet = LinkState::Open;
            snapshot.links[1].inlet = LinkState::Open;
            snapshot.links[1].limit.quantity = Limit::UNLIMITED;
            insta::assert_snapshot!("supervisor_snapshot_dot", renumbered(&snapshot, snapshot.dot()));
        });
    }

    #[test]
    fn every_name_survives_json() {
        let mut snapshot = made_up();
        let all: String = (0..0x0300).filter_map(char::from_u32).chain(['\u{2028}', '\u{2029}', '\u{1F600}']).collect();
        for name in [all.as_str(), "", "\"", "\\", "\\u0000", "a\nb", "\u{1b}[31m"] {
            snapshot.components[0].name = name.into();
            assert_eq!(parsed(&snapshot)["components"][0]["name"], name);
        }
    }

    #[test]
    fn no_bound_is_null_and_credit_goes_with_the_link() {
        let mut snapshot = made_up();
        assert_eq!(parsed(&snapshot)["links"][0]["credit"]["quantity"], 100_000);
        assert_eq!(parsed(&snapshot)["links"][1]["credit"]["quantity"], 0, "ended");
        snapshot.links[0].limit.quantity = Limit::UNLIMITED;
        let value = parsed(&snapshot);
        assert_eq!(value["links"][0]["limit"]["quantity"], Value::Null);
        assert_eq!(value["links"][0]["credit"], serde_json::json!({ "quantity": null, "messages": 212 }));
    }
}
