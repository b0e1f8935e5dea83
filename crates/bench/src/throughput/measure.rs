//! The whole measurement: for every network rounds of ours and of the peers in turn, then the layers.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use indicatif::ProgressBar;

use super::layers::{LayerTime, layer_times};
use super::machine::Machine;
use super::model::Model;
use super::peers::Peers;
use super::rig::Rig;
use super::settings::Settings;
use super::spread::Spread;
use super::subject::{Precision, Subject};

/// Everything that one command measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// What it was measured with.
    pub settings: Settings,
    /// What it was measured on.
    pub machine: Machine,
    /// The processor's float32 multiply-add peak, measured in every round; the best of them, as anything else on the
    /// machine can only lower it.
    pub peak: Peak,
    /// The peers' versions; `None` without peers.
    pub peers: Option<String>,
    /// The networks.
    pub models: Vec<ModelResult>,
}

/// Operations in 1e-9 seconds, a multiply-add counted as two.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Peak {
    /// Of all threads at once.
    pub all: f64,
    /// Of one thread alone.
    pub one: f64,
}

/// One network.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelResult {
    /// Which.
    pub model: Model,
    /// Operations for one image, a multiply-add counted as two.
    pub operations: u64,
    /// Images that each of our threads takes at once.
    pub group: usize,
    /// Images that a peer takes at once.
    pub peer_batch: usize,
    /// Ours and the peers'.
    pub series: Vec<Series>,
    /// Ours layer by layer, by precision.
    pub layers: Vec<(Precision, Vec<LayerTime>)>,
}

impl ModelResult {
    /// Whether anyone else was measured with it.
    pub fn has_peers(&self) -> bool {
        self.series.iter().any(|series| series.who != OURS)
    }
}

/// Rounds of one contestant.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// [`OURS`] or a peer's name.
    pub who: String,
    /// What it computes with.
    pub precision: Precision,
    /// Threads.
    pub threads: usize,
    /// Images per second.
    pub rate: Spread,
    /// Ours over this one.
    pub ratio: Option<Ratio>,
    /// All threads over one: quotients of neighbouring rounds of ours.
    pub scaling: Option<Spread>,
}

/// Our speed over a peer's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// Which precision of ours; the peer's own where we have it.
    pub against: Precision,
    /// Quotients of neighbouring rounds.
    pub spread: Spread,
}

/// The name under which the engine stands in tables.
pub const OURS: &str = "quantlab";

impl Measured {
    /// Per cent of the processor's peak that `rate` images per second reach; `None` for integers, whose peak is another.
    pub fn percent_of_peak(
        &self,
        model: &ModelResult,
        precision: Precision,
        threads: usize,
        rate: f64,
    ) -> Option<f64> {
        let peak = match threads {
            1 => self.peak.one,
            _ => self.peak.all,
        };
        let gflops = rate * model.operations as f64 / 1e9;
        (precision == Precision::Float32 && peak > 0.0).then(|| 100.0 * gflops / peak)
    }
}

/// Measures what `settings` ask for; `bar` counts rounds.
///
/// # Errors
/// If a network cannot be compiled for the processor, a thread fails, or a peer does.
pub fn measure(
    settings: &Settings,
    mut peers: Option<Peers>,
    bar: &ProgressBar,
) -> Result<Measured> {
    bar.set_length((settings.models.len() * settings.rounds) as u64);
    let mut peak = Peak::default();
    let mut models = Vec::new();
    for model in &settings.models {
        bar.set_message(format!("{model}: warm-up"));
        models.push(measure_model(
            settings,
            model,
            peers.as_mut(),
            &mut peak,
            bar,
        )?);
        if bar.is_hidden() {
            eprintln!("{model}: measured");
        }
    }
    bar.finish_and_clear();
    Ok(Measured {
        settings: settings.clone(),
        machine: Machine::detect(settings),
        peak,
        peers: peers.map(|peers| peers.versions.clone()),
        models,
    })
}

/// Measures the peak again and keeps the better one.
fn raise(peak: &mut Peak, settings: &Settings) -> Result<()> {
    let time = (settings.round / 8).min(Duration::from_millis(250));
    let measure = |threads| engine::peak(settings.isa, threads, time).map(|peak| peak / 1e9);
    peak.all = peak.all.max(measure(settings.threads)?);
    peak.one = match settings.threads {
        1 => peak.all,
        _ => peak.one.max(measure(1)?),
    };
    Ok(())
}

/// Our rounds in one precision.
struct Lane<'a> {
    subject: &'a Subject,
    all: Rig<'a>,
    rates: Vec<f64>,
    // One thread alone, where that is not all of them.
    one: Option<Rig<'a>>,
    rates_of_one: Vec<f64>,
    scalings: Vec<f64>,
}

/// A peer's rounds.
struct PeerLane {
    name: String,
    precision: Precision,
    // Which of our lanes it is compared with.
    against: usize,
    rates: Vec<f64>,
    ratios: Vec<f64>,
}

fn measure_model(
    settings: &Settings,
    model: &Model,
    mut peers: Option<&mut Peers>,
    peak: &mut Peak,
    bar: &ProgressBar,
) -> Result<ModelResult> {
    let mut subjects = Precision::OURS
        .into_iter()
        .map(|precision| {
            let subject = Subject::new(model, precision, settings.isa);
            subject.with_context(|| format!("{model} in {}", precision.name()))
        })
        .collect::<Result<Vec<_>>>()?;
    subjects.retain(Subject::is_of_its_own);
    let mut lanes = Vec::new();
    for subject in &subjects {
        let warm = |threads| -> Result<Rig<'_>> {
            let mut rig = Rig::new(&subject.program, threads);
            rig.warm_up(settings.round)?;
            Ok(rig)
        };
        lanes.push(Lane {
            subject,
            all: warm(settings.threads)?,
            rates: Vec::new(),
            one: (settings.threads > 1).then(|| warm(1)).transpose()?,
            rates_of_one: Vec::new(),
            scalings: Vec::new(),
        });
    }
    let mut peer_lanes = Vec::new();
    let mut batch = 0;
    if let Some(peers) = peers.as_deref_mut() {
        bar.set_message(format!("{model}: the peers build it"));
        let names;
        (batch, names) = peers.load(model)?;
        for name in names {
            peers.time(&name, Duration::ZERO)?;
            peer_lanes.push(peer_lane(name, &lanes));
        }
    }
    for _ in 0..settings.rounds {
        raise(peak, settings)?;
        for (index, lane) in lanes.iter_mut().enumerate() {
            let mut against = peer_lanes
                .iter_mut()
                .filter(|p| p.against == index)
                .peekable();
            if against.peek().is_none() {
                bar.set_message(format!("{model}: {OURS}"));
                lane.rates.push(lane.all.round()?);
            }
            for peer in against {
                bar.set_message(format!("{model}: {OURS} and {}", peer.name));
                let ours = lane.all.round()?;
                let theirs = match peers.as_deref_mut() {
                    Some(peers) => peers.time(&peer.name, settings.round)?,
                    None => continue,
                };
                lane.rates.push(ours);
                peer.rates.push(theirs);
                peer.ratios.push(ours / theirs);
            }
            if let Some(one) = &mut lane.one {
                bar.set_message(format!("{model}: {OURS}, one thread"));
                let rate = one.round()?;
                lane.rates_of_one.push(rate);
                lane.scalings
                    .extend(lane.rates.last().map(|all| all / rate));
            }
        }
        bar.inc(1);
    }
    bar.set_message(format!("{model}: layer by layer"));
    let mut layers = Vec::new();
    for lane in &mut lanes {
        let times = layer_times(&mut lane.all, settings.round)?;
        layers.push((lane.subject.precision, times));
    }
    let first = lanes.first().ok_or_else(|| anyhow!("nothing to measure"))?;
    Ok(ModelResult {
        model: model.clone(),
        operations: first.subject.operations(),
        group: first.subject.program.group(),
        peer_batch: batch,
        series: series(settings.threads, &lanes, &peer_lanes),
        layers,
    })
}

/// A peer beside the lane of its own precision, or the first where we lack it.
fn peer_lane(name: String, lanes: &[Lane<'_>]) -> PeerLane {
    let precision = match name.ends_with("-int8") {
        true => Precision::Int8,
        false => Precision::Float32,
    };
    let same = |lane: &Lane<'_>| lane.subject.precision == precision;
    PeerLane {
        name,
        precision,
        against: lanes.iter().position(same).unwrap_or(0),
        rates: Vec::new(),
        ratios: Vec::new(),
    }
}

fn series(threads: usize, lanes: &[Lane<'_>], peers: &[PeerLane]) -> Vec<Series> {
    let series = |who: &str, precision, threads, rates: &[f64]| {
        Some(Series {
            who: who.to_owned(),
            precision,
            threads,
            rate: Spread::of(rates)?,
            ratio: None,
            scaling: None,
        })
    };
    let ours = lanes.iter().flat_map(|lane| {
        let precision = lane.subject.precision;
        let mut all = series(OURS, precision, threads, &lane.rates);
        if let Some(all) = &mut all {
            all.scaling = Spread::of(&lane.scalings);
        }
        [all, series(OURS, precision, 1, &lane.rates_of_one)]
    });
    let theirs = peers.iter().map(|peer| {
        let mut series = series(&peer.name, peer.precision, threads, &peer.rates)?;
        series.ratio = Some(Ratio {
            against: lanes[peer.against].subject.precision,
            spread: Spread::of(&peer.ratios)?,
        });
        Some(series)
    });
    ours.chain(theirs).flatten().collect()
}
