//! `graven scopes review`: whether grants are still wanted.

use clap::{Args, Subcommand, ValueEnum};
use graven_client::scopes::{Command, GrantFilter, ReportedReview};
use graven_event::Time;

use super::{
    number::{GrantNumber, Number},
    show,
    terms::Terms,
    times::{self, brief},
};
use crate::{
    exit::Outcome,
    output,
    remote::{LogAtServer, TrustedLog},
    table::Table,
};

const EXAMPLES: &str = "\
A review names the grants that count when it is opened. Of each, somebody who neither asked for it nor has it says whether it is kept; what \
is to go is revoked at once, and what nobody attested when the review is closed is revoked then.

Examples:
  REVIEW=$(graven scopes review open --scope payroll.admin --due 14days)
  graven scopes review list
  graven scopes review attest $REVIEW 3f0c92ab keep
  graven scopes review close $REVIEW";

/// Review grants: open a review, attest, close it
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct ReviewArgs {
    #[command(subcommand)]
    command: ReviewCommand,
}

#[derive(Debug, Subcommand)]
enum ReviewCommand {
    Open(Box<OpenArgs>),
    Attest(Box<AttestArgs>),
    Close(Box<CloseArgs>),
    List(ListArgs),
}

/// Begin a review of the grants that count now
#[derive(Args, Debug)]
struct OpenArgs {
    /// Grants with this scope; repeat it for several [default: with any]
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,

    /// Grants of this application [default: of all]
    #[arg(long, value_name = "CLIENT")]
    client: Option<String>,

    /// Until when it should be done: a time, or how long from now
    #[arg(long, value_name = "TIME", value_parser = times::ahead)]
    due: Option<Time>,

    #[command(flatten)]
    terms: Terms,
}

/// Say of a grant in a review that it is kept, or revoked
#[derive(Args, Debug)]
struct AttestArgs {
    /// The review
    #[arg(value_name = "REVIEW")]
    review: Number,

    /// The grant
    #[arg(value_name = "GRANT")]
    grant: GrantNumber,

    /// What is said
    #[arg(value_name = "VERDICT")]
    verdict: Verdict,

    #[command(flatten)]
    terms: Terms,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Verdict {
    Keep,
    Revoke,
}

/// End a review; grants that nobody attested are revoked
#[derive(Args, Debug)]
struct CloseArgs {
    /// The review
    #[arg(value_name = "REVIEW")]
    review: Number,

    #[command(flatten)]
    terms: Terms,
}

/// List reviews, with what is still to be attested
#[derive(Args, Debug)]
struct ListArgs {
    /// Print one JSON object a review
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    log: LogAtServer,
}

impl ReviewArgs {
    pub(super) fn log(&self) -> Option<&TrustedLog> {
        match &self.command {
            ReviewCommand::Open(args) => Some(&args.terms.log),
            ReviewCommand::Attest(args) => Some(&args.terms.log),
            ReviewCommand::Close(args) => Some(&args.terms.log),
            ReviewCommand::List(_) => None,
        }
    }
}

pub(super) async fn run(args: ReviewArgs) -> Outcome {
    match args.command {
        ReviewCommand::Open(args) => open(*args).await,
        ReviewCommand::Attest(args) => attest(*args).await,
        ReviewCommand::Close(args) => close(*args).await,
        ReviewCommand::List(args) => list(args).await,
    }
}

async fn open(args: OpenArgs) -> Outcome {
    let OpenArgs { scopes, client, due, terms } = args;
    terms.send(Command::OpenReview { scopes, client, due }).await?.number("opened")
}

async fn attest(args: AttestArgs) -> Outcome {
    let log = args.terms.scopes().await?;
    let review = args.review.review(&log).await?;
    let (grant, _) = args.grant.any_revision(&log).await?;
    let keep = args.verdict == Verdict::Keep;
    let done = if keep { "kept" } else { "revoked" };
    args.terms.send(Command::Attest { review, grant, keep }).await?.report(done)
}

async fn close(args: CloseArgs) -> Outcome {
    let review = args.review.review(&args.terms.scopes().await?).await?;
    args.terms.send(Command::CloseReview { review }).await?.report("closed")
}

async fn list(args: ListArgs) -> Outcome {
    let log = args.log.scopes().await?;
    let found = log.reviews().await?;
    let reviews = found.reviews;
    if args.json {
        return reviews.iter().map(show::review_json).try_for_each(output::line);
    }
    let mut table = Table::new(["REVIEW", "ENTRY", "STATE", "DUE", "TO ATTEST", "KEPT", "REVOKED"]);
    for review in &reviews {
        table.row(row(review));
    }
    table.print()?;
    let open: Vec<_> = reviews.iter().flat_map(|review| &review.open).collect();
    if !open.is_empty() {
        let mut grants = log.grants(&GrantFilter::default()).await?.grants;
        grants.retain(|grant| open.contains(&&grant.grant));
        output::line("\nto attest:")?;
        show::grants(&grants).print()?;
    }
    output::note(format_args!(
        "{} reviews{}",
        reviews.len(),
        if found.is_truncated { ", and older ones" } else { "" }
    ));
    Ok(())
}

fn row(review: &ReportedReview) -> [String; 7] {
    [
        show::brief_number(&review.review),
        review.index.to_string(),
        if review.is_closed { "closed" } else { "open" }.to_owned(),
        brief(review.due),
        review.open.len().to_string(),
        review.kept.len().to_string(),
        review.revoked.len().to_string(),
    ]
}
