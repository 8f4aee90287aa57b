! What needs no MPI: texts, parameters, copies, lists, dependencies, questions.
program serial
  use dijitso
  use check
  implicit none

  type :: tally
    integer :: calls = 0
  end type tally
  type :: model
    type(dijitso_library) :: library
    type(dijitso_params) :: params
  end type model

  abstract interface
    function text_function() bind(c)
      import :: c_ptr
      type(c_ptr) :: text_function
    end function
  end interface

  type(tally), target :: count
  integer :: status
  character(:), allocatable :: message
  character(1024) :: work

  call get_command_argument(1, work)
  call failures()
  call texts()
  call parameters()
  call copies()
  call dependencies()
  call started()
  call several()
  call cancelled()
  call questions()
  call finish()
contains
  subroutine generate(source, name, context, stat)
    class(dijitso_source), intent(inout) :: source
    character(*), intent(in) :: name
    class(*), intent(inout), optional :: context
    integer, intent(out) :: stat
    integer :: i
    stat = 0
    if (present(context)) then
      select type (context)
      type is (tally)
        context%calls = context%calls + 1
      type is (character(*))
        call source%set_code('extern "C" const char *'//name//'() { return R"('//context//')"; }')
        return
      end select
    end if
    if (name == 'fails') then
      call source%set_error('the form has no integral')
      stat = -3
    else if (name == 'empty') then
      call source%set_code('')
    else if (name == 'many_lines') then
      call source%set_code('extern "C" double '//name//'(double x) {'//new_line('a'))
      do i = 1, 1000
        call source%add_line('  x += 1;  // é '//repeat(' ', mod(i, 7)))
      end do
      call source%add_line('return x; }')
    else if (name == 'nothing') then
      continue
    else if (name == 'lost') then
      call source%set_code(square_code)
      call source%add_dependency('')
    else if (name == 'generator') then
      call expect_text(source%generator(), '"degree":2')
      call expect_text(source%signature(), 'generator')
      call source%set_code([character(60) :: 'extern "C" double generator(double x)', '{', '  return x;', '}'])
    else
      call source%set_code('extern "C" double '//name//'(double x) { return x * x; }')
    end if
  end subroutine

  subroutine fresh(params)
    type(dijitso_params), intent(inout) :: params
    params = dijitso_params()
    call params%set('cache.cache_dir', trim(work)//'/a b/ü')
  end subroutine

  subroutine failures()
    type(dijitso_params) :: params
    type(dijitso_library) :: library
    type(dijitso_error) :: error
    type(c_funptr) :: address
    call fresh(params)
    call dijitso_jit(library, 'fails', generate, params=params, stat=status, errmsg=message)
    call expect(status == DIJITSO_ERROR_GENERATE, 'generate has failed')
    call expect_text(message, 'the form has no integral')
    call dijitso_jit(library, 'nothing', generate, params=params, stat=status, errmsg=message)
    call expect(status == DIJITSO_ERROR_GENERATE, 'a source needs a code: '//message)
    call dijitso_jit(library, 'lost', generate, params=params, stat=status, errmsg=message)
    call expect(status == DIJITSO_ERROR_GENERATE, 'a refused dependency is a failure: '//message)
    call dijitso_jit(library, 'missing', params=params, stat=status)
    call expect(status == DIJITSO_ERROR_INVALID_ARGUMENT, 'a miss needs generate')
    call dijitso_jit_source(library, 'wrong', 'no code', params=params, error=error)
    call expect(error%status == DIJITSO_ERROR_COMPILE .and. len(error%log) > 0, 'the compiler has failed')
    address = library%symbol('square', status, message)
    call expect(status == DIJITSO_ERROR_INVALID_ARGUMENT .and. .not. c_associated(address), 'there is no library')
    call expect(library%origin() == -1 .and. library%path() == '', 'and nothing is known of it')
    call dijitso_jit_source(library, 'square', square_code, params=params)
    address = library%symbol('cube', status, message)
    call expect(status == DIJITSO_ERROR_SYMBOL .and. .not. c_associated(address), 'there is no such function')
    call expect_text(message, 'square')
    address = library%symbol('square', status, message)
    call expect(status == DIJITSO_OK .and. len(message) == 0, 'success leaves no message')
  end subroutine

  subroutine texts()
    type(dijitso_params) :: params
    type(dijitso_library) :: library
    character(40) :: padded = 'padded'
    character(40) :: symbol = 'padded'
    character(0) :: nothing
    character(kind=c_char), pointer :: bytes(:)
    procedure(text_function), pointer :: text
    character(:), allocatable :: said
    integer :: i
    call fresh(params)
    call dijitso_jit(library, padded, generate, params=params)
    call expect(evaluate(library%symbol(symbol), 3d0) == 9, 'trailing blanks do not count')
    call expect_text(library%path(), '/a b/ü/')
    call dijitso_jit(library, nothing, generate, params=params, stat=status)
    call expect(status == DIJITSO_ERROR_INVALID_ARGUMENT, 'a name has a letter')
    call dijitso_jit(library, 'a b', generate, params=params, stat=status)
    call expect(status == DIJITSO_ERROR_INVALID_ARGUMENT, 'a name has no blank')
    call dijitso_jit(library, 'padded'//c_null_char//'x', generate, params=params, stat=status)
    call expect(status == DIJITSO_ERROR_INVALID_ARGUMENT, 'a name has no NUL')
    call dijitso_jit(library, 'many_lines', generate, params=params)
    call expect(evaluate(library%symbol('many_lines'), 1d0) == 1001, 'lines are added')
    call dijitso_jit(library, 'empty', generate, params=params)
    call expect(library%is_loaded(), 'an empty source is a library')
    call dijitso_jit_source(library, 'empty2', nothing, params=params, header=nothing)
    call expect(library%is_loaded(), 'also as a text')
    said = 'straße  ∫∇u·∇v '
    call dijitso_jit(library, 'said', generate, params=params, context=said)
    call c_f_procpointer(library%symbol('said'), text)
    call c_f_pointer(text(), bytes, [len(said)])
    call expect(all([(bytes(i) == said(i:i), i=1, len(said))]), 'code is taken as it is')
  end subroutine

  subroutine parameters()
    type(dijitso_params) :: params, other
    logical :: found
    call expect_text(params%get('build.language'), 'cxx')
    call expect(params%origin('build.timeout') == 'default', 'nothing is set')
    call params%set('build.timeout', 30)
    call params%set('build.debug', .true.)
    call params%set('build.cxxflags_append', '-DA=1 "-DB=a b"   ')
    call expect(params%get('build.debug') == 'true', 'a flag')
    call expect(params%origin('build.timeout') == 'caller', 'it is set')
    call expect_text(params%get('build.timeout'), '30')
    call expect(params%get('no.such', found) == '' .and. .not. found, 'no such key')
    call params%set('build.cxflags', 'x', status, message)
    call expect(status == DIJITSO_ERROR_PARAMS, 'an unknown key')
    call expect_text(message, 'build.cxxflags')
    call params%merge_json('{"generator": {"degree": 2}}')
    other = params
    call other%set('build.timeout', 5)
    call expect_text(params%get('build.timeout'), '30')
    call expect_text(other%to_json(), '"degree":2')
    call expect(other%get('build.cxxflags_append') == params%get('build.cxxflags_append'), 'copies are equal')
    call params%merge_json('{', status)
    call expect(status == DIJITSO_ERROR_PARAMS, 'no JSON')
    params = dijitso_params()
    call expect(params%origin('build.timeout') == 'default', 'the defaults again')
  end subroutine

  subroutine copies()
    type(dijitso_params) :: params
    type(dijitso_library) :: one, two, three(2)
    type(model) :: first, second
    type(dijitso_library), allocatable :: list(:), more(:)
    call fresh(params)
    call dijitso_jit(one, 'copied', generate, params=params)
    two = one
    two = two
    three = two
    one = dijitso_library()
    call expect(.not. one%is_loaded() .and. evaluate(three(2)%symbol('copied'), 2d0) == 4, 'a copy is left')
    first%library = two
    first%params = params
    second = first
    first = model(one, params)
    first = same(second)
    call dijitso_jit(first%library, 'another', generate, params=first%params)
    call expect(evaluate(second%library%symbol('copied'), 2d0) == 4, 'a copy in a structure')
    call expect(second%params%get('cache.cache_dir') == params%get('cache.cache_dir'), 'of parameters, too')
    allocate (list(3), more(6))
    list = two
    more = [list, list]
    deallocate (list)
    call expect(evaluate(more(6)%symbol('copied'), 2d0) == 4, 'lists of copies')
    deallocate (more)
    call expect(evaluate(two%symbol('copied'), 2d0) == 4, 'the rest is left')
  end subroutine

  function same(from) result(copy)
    type(model), intent(in) :: from
    type(model) :: copy
    copy = from
  end function

  subroutine dependencies()
    type(dijitso_params) :: params
    type(dijitso_library) :: low, high
    call fresh(params)
    call dijitso_jit_source(low, 'low', 'double low(double x) { return x + 1; }', params=params, &
      header='double low(double x);')
    call dijitso_jit_source(high, 'high', '#include "'//low%signature()//'.h"'//new_line('a')// &
      'extern "C" double high(double x) { return 2 * low(x); }', params=params, dependencies=[low])
    call expect(evaluate(high%symbol('high'), 1d0) == 4, 'a library that needs another')
    call dijitso_jit(high, 'nested', nested, params=params, context=params)
    call expect(evaluate(high%symbol('nested'), 2d0) == 5, 'a call within generate')
  end subroutine

  subroutine nested(source, name, context, stat)
    class(dijitso_source), intent(inout) :: source
    character(*), intent(in) :: name
    class(*), intent(inout), optional :: context
    integer, intent(out) :: stat
    type(dijitso_library) :: inner
    select type (context)
    type is (dijitso_params)
      call dijitso_jit(inner, 'inner', generate, params=context, stat=stat)
    end select
    if (stat /= 0) return
    call source%add_dependency(inner)
    call source%set_code('extern "C" double inner(double); extern "C" double '//name// &
      '(double x) { return inner(x) + 1; }')
  end subroutine

  subroutine started()
    type(dijitso_params) :: params
    type(dijitso_pending) :: pending, copy
    type(dijitso_library) :: library
    call fresh(params)
    call dijitso_jit_start(pending, 'begun', generate, params=params)
    copy = pending
    call dijitso_jit_finish(pending, library)
    call expect(library%is_loaded() .and. .not. copy%is_started(), 'a copy has nothing left to finish')
    call dijitso_jit_finish(copy, library, status)
    call expect(status == DIJITSO_ERROR_INVALID_ARGUMENT, 'so it cannot be finished')
    call dijitso_jit_start(pending, 'given-up', generate, params=params)
    call pending%free()
    call expect(.not. pending%is_started(), 'it is given up')
  end subroutine

  subroutine several()
    type(dijitso_params) :: params
    type(dijitso_library), allocatable :: libraries(:)
    character(8) :: names(0)
    call fresh(params)
    call params%merge_json('{"generator": {"degree":2}}')
    call dijitso_jit_many(libraries, [character(12) :: 'a', 'generator', 'a'], generate, params=params, context=count)
    call expect(size(libraries) == 3 .and. count%calls == 2, 'a name that is given twice is built once')
    call expect(evaluate(libraries(2)%symbol('generator'), 2d0) == 2, 'lines of code')
    call dijitso_jit_many(libraries, names, generate, params=params)
    call expect(size(libraries) == 0, 'no names')
  end subroutine

  subroutine cancelled()
    type(dijitso_params) :: params
    type(dijitso_library) :: library
    call fresh(params)
    call params%set('build.cxx', '/bin/sh -c "exec sleep 60"')
    count%calls = 0
    call dijitso_jit(library, 'slow', generate, params=params, context=count, stat=status, errmsg=message, &
      poll=poll)
    call expect(status == DIJITSO_ERROR_CANCELLED, 'poll has cancelled the call: '//message)
    call expect(count%calls >= 100, 'poll has the context')
  end subroutine

  subroutine poll(cancel, context)
    logical, intent(inout) :: cancel
    class(*), intent(inout), optional :: context
    select type (context)
    type is (tally)
      context%calls = context%calls + 100
    end select
    cancel = .true.
  end subroutine

  subroutine questions()
    type(dijitso_params) :: params
    type(dijitso_library) :: library
    type(dijitso_stats), allocatable :: stats(:)
    character(:), allocatable :: signature, text
    call fresh(params)
    call expect(index(dijitso_version(), '.') > 0, 'a version')
    call dijitso_jit(library, 'padded', generate, params=params)
    call dijitso_signature(signature, 'padded', params)
    call expect(signature == library%signature(), 'the signature of the call')
    call dijitso_library_open(library, signature, params)
    call expect(evaluate(library%symbol('padded'), 2d0) == 4, 'opened by its signature')
    call dijitso_explain(text, 'padded', params)
    call expect_text(text, 'padded')
    call dijitso_explain(text, 'padded', params, json=.true.)
    call expect(text(1:1) == '{', 'an explanation as JSON')
    call dijitso_cache_stats(stats, params)
    call expect(size(stats) == 1, 'one host')
    call expect(stats(1)%builds > 5 .and. stats(1)%compile_seconds > 0 .and. len(stats(1)%host) > 0, 'its builds')
  end subroutine
end program serial
