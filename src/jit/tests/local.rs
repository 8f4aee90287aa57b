//! Roles that follow from the callbacks, without a communicator.

use std::cell::RefCell;

use super::*;

/// Returns a process with a cache of its own.
fn process(root: &Path, fault: Fault) -> (Session, Params) {
    let params = test_params(root, &[("cache.cache_dir", "cache"), ("cache.signature", "name")]);
    (Session::new(FakeCompiler::new(fault), Arc::new(FakeLoader { fails: false })), params)
}

fn code(_: GenerateRequest<'_>, source: &mut Source) -> std::result::Result<(), i32> {
    source.code = Some(b"code".to_vec());
    Ok(())
}

/// Makes the call of a builder, then that of a receiver of what the builder has sent. Returns their results,
/// and how often they waited.
fn send_and_receive(
    builder: &(Session, Params),
    receiver: &(Session, Params),
) -> (Vec<Result<Library>>, usize) {
    let sent = RefCell::new(None);
    let waits = AtomicUsize::new(0);
    let wait = || {
        waits.fetch_add(1, Ordering::SeqCst);
        Ok(())
    };
    let call = |(session, params): &(Session, Params), callbacks: &mut Callbacks<'_>| {
        let params = params.resolve().unwrap();
        session.jit(Ok(Request { name: "form", params: &params }), callbacks)
    };
    let mut sends = generator(code);
    sends.send = Some(Box::new(|data: &[u8]| {
        *sent.borrow_mut() = Some(data.to_vec());
        Ok(())
    }));
    sends.wait = Some(Box::new(wait));
    let built = call(builder, &mut sends);
    let mut receives = Callbacks {
        receive: Some(Box::new(|| sent.borrow_mut().take().ok_or(9))),
        wait: Some(Box::new(wait)),
        ..Callbacks::default()
    };
    let received = call(receiver, &mut receives);
    (vec![built, received], waits.load(Ordering::SeqCst))
}

#[test]
fn a_receiver_gets_what_the_builder_sends() {
    let (a, b) = (scratch(), scratch());
    let (results, waits) = send_and_receive(&process(a.path(), Fault::None), &process(b.path(), Fault::None));
    let origins: Vec<Origin> = results.iter().map(|library| library.as_ref().unwrap().origin()).collect();
    assert_eq!((origins, waits), (vec![Origin::Built, Origin::Received], 2));
}

/// Defects H1, H2 and W8 of the original: a builder that failed did not send, or sent something of another
/// size.
#[test]
fn h2_w8_a_builder_that_fails_sends_its_error_and_waits() {
    let (a, b) = (scratch(), scratch());
    let builder = process(a.path(), Fault::CompileError);
    let (results, waits) = send_and_receive(&builder, &process(b.path(), Fault::None));
    let error = same_error(&results, "failure");
    assert_eq!((error.kind(), waits), (Kind::Compile, 2));
    assert!(error.log().contains("100 %"));
}

/// With a cache that cannot be used, too, a process plays its role.
#[test]
fn h1_a_rank_that_cannot_look_still_sends_receives_and_waits() {
    let break_cache = |root: &Path| {
        let lib = root.join("cache/lib/libdijitso-form.so");
        fs::create_dir_all(lib).unwrap();
    };
    let (a, b) = (scratch(), scratch());
    break_cache(a.path());
    let (results, waits) = send_and_receive(&process(a.path(), Fault::None), &process(b.path(), Fault::None));
    assert_eq!((same_error(&results, "builder").kind(), waits), (Kind::Cache, 2));

    let (a, b) = (scratch(), scratch());
    break_cache(b.path());
    let (results, waits) = send_and_receive(&process(a.path(), Fault::None), &process(b.path(), Fault::None));
    assert!(results[0].is_ok());
    assert_eq!((results[1].as_ref().unwrap_err().kind(), waits), (Kind::Cache, 2));
}

/// With parameters that cannot be read, too, a process plays its role.
#[test]
fn h1_a_rank_with_bad_arguments_still_sends_receives_and_waits() {
    let dir = scratch();
    let (session, _) = process(dir.path(), Fault::None);
    let bad = || Err(Error::new(Kind::Params, "bad on this rank"));
    let (sent, calls) = (RefCell::new(Vec::new()), AtomicUsize::new(0));
    let count = || {
        calls.fetch_add(1, Ordering::SeqCst);
        Ok(())
    };
    let mut builder = generator(code);
    builder.send = Some(Box::new(|data: &[u8]| {
        *sent.borrow_mut() = data.to_vec();
        count()
    }));
    builder.wait = Some(Box::new(count));
    assert_eq!(session.jit(bad(), &mut builder).unwrap_err().kind(), Kind::Params);
    let closure = crate::cache::closure::Closure::decode(&sent.borrow()).unwrap();
    assert!(
        matches!(closure, crate::cache::closure::Closure::Failure(error) if error.kind() == Kind::Params)
    );
    let mut receiver = Callbacks {
        receive: Some(Box::new(|| count().map(|()| Vec::new()))),
        wait: Some(Box::new(count)),
        ..Callbacks::default()
    };
    assert_eq!(session.jit(bad(), &mut receiver).unwrap_err().kind(), Kind::Params);
    assert_eq!(calls.load(Ordering::SeqCst), 4);
}

#[test]
fn roles_that_contradict_or_are_missing() {
    let dir = scratch();
    let (session, params) = process(dir.path(), Fault::None);
    let params = params.resolve().unwrap();
    let request = Request { name: "form", params: &params };
    let mut both = generator(code);
    both.receive = Some(Box::new(|| Err(1)));
    assert_eq!(session.jit(Ok(request), &mut both).unwrap_err().kind(), Kind::InvalidArgument);
    let none = session.jit(Ok(request), &mut Callbacks::default()).unwrap_err();
    assert_eq!(none.kind(), Kind::InvalidArgument);
    assert!(none.message().contains("no generate callback"), "{none}");
    let mut waits = Callbacks { wait: Some(Box::new(|| Ok(()))), ..Callbacks::default() };
    assert_eq!(session.jit(Ok(request), &mut waits).unwrap_err().kind(), Kind::Cache);
    let mut fails = Callbacks { wait: Some(Box::new(|| Err(3))), ..Callbacks::default() };
    assert_eq!(session.jit(Ok(request), &mut fails).unwrap_err().kind(), Kind::Callback);
    session.jit(Ok(request), &mut generator(code)).unwrap();
    assert_eq!(session.jit(Ok(request), &mut Callbacks::default()).unwrap().origin(), Origin::Memory);
    assert_eq!(session.jit(Ok(request), &mut both).unwrap_err().kind(), Kind::InvalidArgument);
}
