//! `cargo xtask demo`: the default model's service and the site on this machine.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::Child;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::build::{self, Flavour};
use crate::project::Project;
use crate::setup::{self, Tools};
use crate::shell::Cmd;
use crate::stages::Stages;
use crate::test::playwright;

/// Options of `cargo xtask demo`.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Drive the whole job with a headless browser, print its figures, write screenshots, and end.
    #[arg(long)]
    headless: bool,
    /// Serve the site on this port.
    #[arg(long, default_value_t = 5173)]
    port: u16,
}

/// The service proves its head against the engine before it listens.
const START_LIMIT: Duration = Duration::from_secs(180);
const HOST: &str = "127.0.0.1";

/// Runs set-up, builds, serves.
pub(crate) fn run(project: &Project, stages: &mut Stages, args: &Args) -> Result<()> {
    let tools = setup::run(project, stages)?;
    build::site(project, stages, &tools, Flavour::Real)?;
    build::binary(project, stages)?;
    let interrupted = interrupts()?;
    let port = if args.headless { free_port()? } else { args.port };
    let site = format!("http://{HOST}:{port}");
    let (_service, service) = stages.run("start", || start(project, &site, port))?;
    let open = format!("{site}/?service={}", service.url);
    if args.headless {
        return stages.run("demo", || drive(project, &tools, &site, &service.url));
    }
    println!("\nPema is at  {open}\n(Ctrl-C ends it.)");
    interrupted.recv().context("lost the signal handler")?;
    println!("\nending");
    Ok(())
}

/// A child that ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, by the same Ctrl-C for one.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The service's children and its address.
struct Service {
    url: String,
}

fn start(project: &Project, site: &str, port: u16) -> Result<([Running; 2], Service)> {
    let data = project.target.join("demo/service");
    let mut pema = Cmd::new(project.pema(), "the model's owner: the default model behind /v1")
        .args(["serve", "--model", "default", "--host", HOST, "--port", "0", "--allow-origin", site])
        .args(["--allow-origin", &format!("http://localhost:{port}"), "--data-dir"])
        .args([&data])
        .spawn()
        .map(Running)?;
    let url = wait_for(&mut pema, "listening on ").context("the service did not start: its last lines are above")?;
    // Without npm between, which would leave vite running when it is killed.
    let mut vite = Cmd::new("node", "the data owner's page, as a static site")
        .args(["node_modules/vite/bin/vite.js", "preview", "--host", HOST, "--port", &port.to_string(), "--strictPort"])
        .dir(project.web())
        .spawn()
        .map(Running)?;
    wait_for(&mut vite, "Local:").with_context(|| format!("the site did not start: is port {port} taken? try --port"))?;
    Ok(([pema, vite], Service { url }))
}

/// Prints a child's output from here on, and waits for the word that follows `sign` in it.
fn wait_for(child: &mut Running, sign: &'static str) -> Result<String> {
    let output = BufReader::new(child.0.stdout.take().context("its output is not piped")?);
    let (found, sign_seen) = mpsc::channel();
    thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            println!("  | {line}");
            if let Some((_, rest)) = line.split_once(sign) {
                let word = rest.split_whitespace().next().unwrap_or_default();
                let _ = found.send(word.to_owned());
            }
        }
    });
    // The sender is dropped when the child ends.
    sign_seen.recv_timeout(START_LIMIT).with_context(|| format!("it ended, or said no `{sign}` in {} s", START_LIMIT.as_secs()))
}

fn drive(project: &Project, tools: &Tools, site: &str, service: &str) -> Result<()> {
    let shots = project.root.join("target/demo");
    playwright(project, "drive the whole job on the sample data", "demo")
        .env("PEMA_SITE_URL", site)
        .env("PEMA_SERVICE_URL", service)
        .env("PEMA_SHOTS", &shots)
        .env("CHROME", &tools.programs.browser)
        .run()?;
    println!("screenshots: {}", shots.display());
    Ok(())
}

/// Receives Ctrl-C and the other ways of being asked to end.
fn interrupts() -> Result<mpsc::Receiver<()>> {
    let (sender, receiver) = mpsc::channel();
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::spawn(move || signals.forever().try_for_each(|_| sender.send(())));
    Ok(receiver)
}

fn free_port() -> Result<u16> {
    let port = TcpListener::bind((HOST, 0))?.local_addr()?.port();
    if port == 0 {
        bail!("no free port");
    }
    Ok(port)
}
