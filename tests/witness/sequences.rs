//! Every sequence of the vectors, in order, each on a fresh witness.

use graven_note::witness::AddCheckpoint;

use crate::{
    rig::{Place, post},
    vectors,
};

#[test]
fn every_sequence_in_order() {
    let mut cases = 0;
    for (name, file) in vectors::json_files("witness") {
        let place = Place::new();
        for (origin, keys) in file["logs"].as_object().unwrap() {
            let keys = keys.as_array().unwrap().iter().map(|key| key.as_str().unwrap().to_owned());
            place.know(origin, &keys.collect::<Vec<_>>());
        }
        let running = place.serve();
        let mut connection = running.connect();
        for case in file["cases"].as_array().unwrap() {
            let what = format!("{name}: {}", case["id"]);
            let body = match case["body_b64"].as_str() {
                Some(encoded) => vectors::b64(encoded),
                None => vectors::text(case, "body").as_bytes().to_vec(),
            };
            let answer = post(&mut connection, "add-checkpoint", &body);
            let also =
                case["also_acceptable"].as_array().is_some_and(|also| also.contains(&answer.status.into()));
            assert!(case["status"] == answer.status || also, "{what}: {answer:?}");
            if answer.status == 200 {
                place.cosigned(&AddCheckpoint::parse(&body).unwrap(), &answer);
            }
            if let Some(expected) = case["response_body"].as_str() {
                assert_eq!(String::from_utf8(answer.body.clone()).unwrap(), expected, "{what}");
            }
            if let Some(expected) = case["response_content_type"].as_str() {
                assert_eq!(answer.header("content-type"), Some(expected), "{what}");
            }
            cases += 1;
        }
    }
    assert!(!vectors::is_default() || cases == 64, "{cases} cases");
}
