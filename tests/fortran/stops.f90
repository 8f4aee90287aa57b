! Without stat, an error stops the program with its message. The argument is the name of a library.
program stops
  use dijitso
  implicit none
  type(dijitso_params) :: params
  type(dijitso_library) :: library
  character(1024) :: work
  call get_command_argument(1, work)
  call params%set('cache.cache_dir', work)
  call dijitso_jit(library, 'square', generate, params=params)
  print '(a)', 'still here'
contains
  subroutine generate(source, name, context, stat)
    class(dijitso_source), intent(inout) :: source
    character(*), intent(in) :: name
    class(*), intent(inout), optional :: context
    integer, intent(out) :: stat
    call source%set_error('no form for '//name)
    stat = merge(2, 1, present(context))
  end subroutine
end program stops
