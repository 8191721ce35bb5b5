//! When the steps of builds ran, as pictures: what runs beside something else is in a lane of its own, as in
//! [`perfetto`](super::super::perfetto).

use maud::{Markup, html};

use super::super::perfetto::lanes;
use super::text::{name, seconds, short};
use crate::artifact::record::ScenarioRecord;
use crate::artifact::steps::Steps;
use crate::trace::{Kind, Step};
use crate::verdict::Cause;

/// How many builds of a scenario are drawn, and steps of a build: the longest.
const BUILDS: usize = 8;
const STEPS: usize = 80;
/// How many lanes a picture has room for.
const LANES: usize = 24;
/// Measures of a picture, and of a character in it.
const WIDTH: f64 = 960.0;
const LANE: usize = 20;
const CHARACTER: f64 = 6.3;

/// The builds of a scenario. `room` is how many steps the page has still room for.
pub(super) fn section(record: &ScenarioRecord, guilty: &[&Cause], room: &mut usize) -> Option<Markup> {
    let drawn =
        |id: &str| record.traces.get(id).filter(|steps| steps.steps.iter().any(|step| step.kind == Kind::Recipe));
    let all: Vec<(&str, &Steps)> =
        record.builds.iter().filter_map(|build| Some((build.id.as_str(), drawn(&build.id)?))).collect();
    if all.is_empty() || *room == 0 {
        return None;
    }
    let idle = record.builds.iter().filter(|build| build.traced).count().saturating_sub(all.len());
    let figures: Vec<Markup> = all
        .iter()
        .take(BUILDS)
        .map(|(id, steps)| {
            let own: Vec<&str> =
                guilty.iter().filter(|cause| cause.build == *id).map(|cause| cause.step.as_str()).collect();
            build(&format!("{} {id}", record.id), id, steps, &own, room)
        })
        .collect();
    Some(html! {
        details.times { summary { "Time line of its builds" }
            p.legend aria-hidden="true" {
                span.k0 { "compile" } " " span.k1 { "link" } " " span.k2 { "BTF" } " " span.k3 { "generate" } " " span.k4 { "other" } " "
                span.guilty { "to blame" }
            }
            @for figure in &figures { (figure) }
            @if all.len() > BUILDS || idle > 0 {
                p.left { @if idle > 0 { (idle) " builds ran no step. " }
                    @if all.len() > BUILDS { (all.len() - BUILDS) " more builds: " code { "kbuild-repro judge --report perfetto=builds.json" } } }
            }
        }
    })
}

fn build(title: &str, id: &str, steps: &Steps, guilty: &[&str], room: &mut usize) -> Markup {
    // What runs another make is as long as that; its steps tell more.
    let mut own: Vec<&Step> = steps.steps.iter().filter(|step| step.kind == Kind::Recipe).collect();
    own.sort_by_key(|step| (step.began, step.ended));
    let lanes = lanes(own.iter().map(|step| (step.began, step.ended)));
    let count = lanes.iter().max().map_or(0, |most| most + 1);
    let end = own.iter().map(|step| step.ended).max().unwrap_or(0).max(1);
    let names: Vec<String> = own.iter().map(|step| step.name()).collect();
    let is_guilty = |at: usize| guilty.contains(&names[at].as_str());
    let mut chosen: Vec<usize> = (0..own.len()).filter(|at| lanes[*at] < LANES).collect();
    chosen.sort_by_key(|at| (!is_guilty(*at), std::cmp::Reverse(own[*at].ended.saturating_sub(own[*at].began))));
    chosen.truncate(STEPS.min(*room));
    chosen.sort_unstable();
    *room -= chosen.len();
    let left = own.len() - chosen.len();
    let x = |micros: u64| micros as f64 / end as f64 * WIDTH;
    let height = count.min(LANES) * LANE + 18;
    html! {
        figure.timeline {
            figcaption { b { (name(id)) } ": " (own.len()) " steps in " (seconds(end as f64 / 1e6)) ", " (count) " at once at most"
                @if left > 0 { "; " (left) " shorter ones are not drawn" } }
            div.scroll tabindex="0" role="region" aria-label={ "Time line of " (name(id)) } {
                svg viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-label={ "Time line of " (name(title)) } {
                    @for at in chosen { (slice(own[at], &names[at], is_guilty(at), lanes[at], (x(own[at].began), x(own[at].ended)))) }
                    @for quarter in 0..=4_u32 {
                        text.axis x=(f64::from(quarter) / 4.0 * WIDTH) y=(height - 4) text-anchor=(match quarter { 0 => "start", 4 => "end", _ => "middle" }) {
                            (seconds(end as f64 / 1e6 * f64::from(quarter) / 4.0))
                        }
                    }
                }
            }
        }
    }
}

fn slice(step: &Step, label: &str, guilty: bool, lane: usize, (from, to): (f64, f64)) -> Markup {
    let wide = (to - from).max(0.8);
    let most = ((wide - 6.0) / CHARACTER) as usize;
    let took = seconds(step.ended.saturating_sub(step.began) as f64 / 1e6);
    html! {
        g class={ (kind(step, label)) @if guilty { " guilty" } } {
            title { (short(label, 160)) " — " (took)
                @if let Some(cmd) = &step.cmd { ", " (name(&cmd.name)) " in " (name(&cmd.file)) ":" (cmd.line) } }
            rect x={ (format!("{from:.1}")) } y=(lane * LANE + 1) width={ (format!("{wide:.1}")) } height=(LANE - 3) rx="2" {}
            @if most >= 4 { text x={ (format!("{:.1}", from + 3.0)) } y=(lane * LANE + 13) { (short(label, most)) } }
        }
    }
}

/// What a step is for, as far as kbuild's word for it says.
fn kind(step: &Step, label: &str) -> &'static str {
    let word = step.label.as_deref().unwrap_or(label).split_whitespace().next().unwrap_or_default();
    match word {
        "CC" | "AS" | "HOSTCC" | "CPP" | "RUSTC" | "cc" | "gcc" | "clang" => "k0",
        "LD" | "AR" | "HOSTLD" | "MODPOST" | "KSYMS" | "OBJCOPY" | "ld" | "ar" => "k1",
        "BTF" | "BTFIDS" | "pahole" => "k2",
        _ if step.label.is_some() => "k3",
        _ => "k4",
    }
}
