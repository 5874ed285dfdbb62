//! `make demo`: sidecar, upstream and a real Envoy with the filter on the ports of the README, and a
//! walk through what the gate does.

mod logins;
mod screen;
mod stage;
mod tokens;
mod walk;

use anyhow::Result;
use clap::Parser;

/// Starts everything and walks through it.
#[derive(Parser)]
struct Arguments {
    /// Exit after the walk; 0 only if every answer was as expected.
    #[arg(long)]
    once: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut screen = screen::Screen::new();
    let mut stage = match stage::Stage::build() {
        Ok(stage) => stage,
        Err(error) => {
            eprintln!("the demo cannot start: {error:#}");
            std::process::exit(1);
        }
    };
    walk::walk(&mut stage, &mut screen)?;
    let surprises = screen.close();
    if !arguments.once {
        screen.say(&stage.where_to_look());
        stage::wait_for_interrupt()?;
    }
    // Ends Envoy, the sidecar and the upstream before the exit code is given.
    drop(stage);
    std::process::exit(i32::from(surprises > 0))
}
