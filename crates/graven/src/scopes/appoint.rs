//! `graven scopes appoint`: administrators, by another one or by the log's recovery key.

use std::{fs, path::PathBuf};

use clap::Args;
use graven_client::scopes::{Command, SignedAppointment};

use super::terms::Terms;
use crate::{
    exit::{Exit, Failure, Outcome},
    keys, output,
};

/// How often an appointment is prepared and signed anew where other appointments came between.
const MAX_TRIES: u32 = 5;

const EXAMPLES: &str = "\
Administrators appoint others. Whom nobody in the log could appoint, such as the first one, the log's recovery key does: it signs a \
statement that counts once, and only in this log. The statement says who it is by a reference, which stands for the name in that log's key store.

With the recovery key at hand:
  graven scopes appoint alice --recovery-key /media/usb/recovery-key.pem

With the recovery key on another machine:
  graven scopes appoint alice --prepare > statement
  graven keys authorise statement --recovery-key recovery-key.pem > signature     (there)
  graven scopes appoint alice --statement statement --signature signature";

/// Make somebody an administrator of scopes
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct AppointArgs {
    /// Who becomes one
    #[arg(value_name = "WHO")]
    administrator: String,

    /// The log's recovery key (PEM), to sign at once
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prepare", "statement"])]
    recovery_key: Option<PathBuf>,

    /// Print what the recovery key has to sign, and do nothing
    #[arg(long, conflicts_with_all = ["statement", "json"])]
    prepare: bool,

    /// What was signed, as --prepare printed it
    #[arg(long, value_name = "FILE", requires = "signature")]
    statement: Option<PathBuf>,

    /// The signature of it, as `graven keys authorise` printed it
    #[arg(long, value_name = "FILE", requires = "statement")]
    signature: Option<PathBuf>,

    #[command(flatten)]
    pub(super) terms: Terms,
}

pub(super) async fn run(args: AppointArgs) -> Outcome {
    if args.prepare {
        let statement = args.terms.scopes().await?.prepare_appointment(&args.administrator).await?;
        output::note("next: graven keys authorise STATEMENT --recovery-key FILE, where the recovery key is");
        return output::bytes(&statement);
    }
    if let Some(file) = args.recovery_key.clone() {
        return by_recovery_key(&args, file).await;
    }
    let read = |file: &PathBuf| fs::read(file).map_err(|error| Failure::file(file, &error));
    let signed = match (&args.statement, &args.signature) {
        (Some(statement), Some(signature)) => Some(SignedAppointment {
            statement: read(statement)?.into(),
            signature: keys::read_signature(signature, &read(signature)?)?.into(),
        }),
        _ => None,
    };
    args.terms.send(args.command(signed)).await?.report(APPOINTED)
}

const APPOINTED: &str = "appointed";

async fn by_recovery_key(args: &AppointArgs, file: PathBuf) -> Outcome {
    let log = args.terms.scopes().await?;
    let mut statement = log.prepare_appointment(&args.administrator).await?;
    for _ in 0..MAX_TRIES {
        let signature = keys::sign_appointment(&file, &statement)?;
        let signed = SignedAppointment { statement: statement.clone(), signature: signature.into() };
        let failure = match args.terms.send(args.command(Some(signed))).await {
            Ok(sent) => return sent.report(APPOINTED),
            Err(failure) => failure,
        };
        // Where somebody was appointed or dismissed meanwhile, there is something else to sign.
        let now = log.prepare_appointment(&args.administrator).await?;
        if std::mem::replace(&mut statement, now) == statement {
            return Err(failure);
        }
    }
    Err(Failure::new(Exit::Trouble, "others are appointed or dismissed all the while: try again later"))
}

impl AppointArgs {
    fn command(&self, signed: Option<SignedAppointment>) -> Command {
        Command::Appoint { administrator: self.administrator.clone(), signed }
    }
}
