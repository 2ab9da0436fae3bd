//! `graven audit`: a whole log, by anybody.

use std::path::{Path, PathBuf};

use clap::Args;
use graven_client::{
    WebOptions, WebSite,
    audit::{self, Audited, Finding, Folder, RemoteAuditError, SiteError, TileSource},
    events::Account,
};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use crate::{
    credentials::Credentials,
    exit::{self, Failure, Outcome},
    output,
    remote::TrustedLog,
};

const EXAMPLES: &str = "\
Reads and hashes every entry, compares every stored hash, and checks that all of it leads to a head that the \
pinned keys signed. Names the first entry that does not. --dir works on the folder of any log that is laid out \
as C2SP tlog-tiles, offline, and --url on any such log on the web.

With --events, what is gone of a log of events is held against its entries: payloads and keys of people go by an entry \
that says so, or are missing. Who may not reveal can tell of payloads only.

--url takes http:// too, on any host: an audit checks all that comes, so nobody on the way can deceive it. A token \
is sent where --token-file gives one, by https:// or to this machine, and never to where the site redirects. What \
the environment holds for --server (GRAVEN_TOKEN and the like) is not shown to others.

Examples:
  graven audit --policy audit.policy
  graven audit --key VKEY --server http://127.0.0.1:4740 --log audit
  graven audit --policy audit.policy --log audit --events
  graven audit --policy audit.policy --dir data/logs/audit/site
  graven audit --key VKEY --url https://log.example.com/audit";

/// Check a whole log: every entry, every stored hash, the signed root
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct AuditArgs {
    /// Folder of a log to audit instead of a server: the one that holds `checkpoint` and `tile`
    #[arg(long, value_name = "SITE")]
    dir: Option<PathBuf>,

    /// Address of a log to audit by its tiles on the web: `checkpoint` and `tile` lie below it
    #[arg(long, value_name = "PREFIX", conflicts_with = "dir")]
    url: Option<String>,

    /// Account for what is gone of a log of events: dropped and erased by an entry, or missing
    #[arg(long, conflicts_with_all = ["dir", "url"])]
    events: bool,

    /// Print one JSON object, also where the audit fails
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    pub(crate) log: TrustedLog,
}

pub(crate) async fn run(args: AuditArgs) -> Outcome {
    let bar = output::progress("auditing");
    let audited = match (&args.dir, &args.url) {
        (Some(dir), _) => of_folder(&args, dir, &bar).await.map(|audited| (audited, None)),
        (None, Some(url)) => of_site(&args, url, &bar).await.map(|audited| (audited, None)),
        (None, None) => of_server(&args, &bar).await,
    };
    bar.finish_and_clear();
    let (audited, account) = audited?;
    report(&audited, account.as_ref(), args.json)?;
    let first = account.as_ref().and_then(|account| account.absences.first());
    first.map_or(Ok(()), |absence| Err(Failure::check_failed(absence)))
}

async fn of_server(args: &AuditArgs, bar: &ProgressBar) -> Outcome<(Audited, Option<Account>)> {
    let log = args.log.open_pinned().await?;
    let audited = log.audit(|progress| output::show(bar, progress)).await;
    let audited = audited.map_err(|error| match &error {
        RemoteAuditError::Found(finding) => failed(args.json, finding),
        RemoteAuditError::Read(_) => error.into(),
    })?;
    let account = match args.events {
        true => Some(log.account(&audited, |index| bar.set_position(index)).await?),
        false => None,
    };
    Ok((audited, account))
}

async fn of_folder(args: &AuditArgs, dir: &Path, bar: &ProgressBar) -> Outcome<Audited> {
    if !dir.is_dir() {
        let dir = dir.display();
        return Err(Failure::trouble(format_args!(
            "{dir} is no folder: give the one that holds `checkpoint`"
        )));
    }
    of_tiles(args, Folder::new(dir), bar).await
}

async fn of_site(args: &AuditArgs, url: &str, bar: &ProgressBar) -> Outcome<Audited> {
    let Credentials { roots, identity, token } = args.log.at.server.credentials.as_given()?;
    let site = WebSite::new(url, WebOptions { roots, identity, token, ..WebOptions::default() })?;
    of_tiles(args, site, bar).await
}

async fn of_tiles(
    args: &AuditArgs,
    source: impl TileSource + Send + 'static,
    bar: &ProgressBar,
) -> Outcome<Audited> {
    let trust = args.log.trust.trust(args.log.trust.demanded()?, args.log.at.log.as_deref())?;
    let bar = bar.clone();
    let audit = move || audit::site(&source, &trust, |progress| output::show(&bar, progress));
    let audited = tokio::task::spawn_blocking(audit).await.map_err(Failure::trouble)?;
    audited.map_err(|error| match &error {
        SiteError::Found(finding) => failed(args.json, finding),
        SiteError::Io { .. } => error.into(),
    })
}

/// The log is not what was signed: programs are told on stdout, everybody on stderr.
fn failed(as_json: bool, finding: &Finding) -> Failure {
    let object =
        json!({ "ok": false, "first_bad_index": finding.first_index(), "finding": finding.to_string() });
    match as_json.then(|| output::line(object)) {
        Some(Err(failure)) => failure,
        _ => Failure::new(exit::exit_of(finding.fault()), format_args!("the audit failed: {finding}")),
    }
}

fn report(audited: &Audited, account: Option<&Account>, as_json: bool) -> Outcome {
    let head = audited.head();
    let (entries, bytes) = (audited.entries(), audited.entry_bytes());
    output::either(
        as_json,
        || {
            let mut object = output::head_json(head);
            object["ok"] = true.into();
            object["entries"] = entries.into();
            object["entry_bytes"] = bytes.into();
            if let Some(account) = account {
                object["ok"] = account.is_clean().into();
                object["events"] = account_json(account);
            }
            object
        },
        || {
            let audited = format!(
                "audited: all {} of {} ({bytes} bytes) are the ones that were signed {}, root {}",
                output::entries(entries),
                head.origin(),
                output::signed_at(head),
                output::brief(head.root())
            );
            account.map_or(audited.clone(), |account| format!("{audited}\n{}", in_words(account)))
        },
    )
}

fn account_json(account: &Account) -> Value {
    json!({
        "payloads": account.payloads,
        "dropped": account.dropped,
        "erased": account.erased,
        "hidden": account.hidden,
        "absences": account.absences.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "more_absences": account.more_absences,
    })
}

fn in_words(account: &Account) -> String {
    let mut lines = vec![format!(
        "of {} payloads {} were dropped and {} concern somebody erased, by entries of the log; {} are hidden from you",
        account.payloads, account.dropped, account.erased, account.hidden
    )];
    lines.extend(account.absences.iter().map(|absence| format!("  {absence}")));
    if account.more_absences > 0 {
        lines.push(format!("  and {} more", account.more_absences));
    }
    lines.join("\n")
}
