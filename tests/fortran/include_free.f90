! dijitsof.h in free form: compiled only.
subroutine include_free(status)
  implicit none
  include 'dijitsof.h'
  integer, intent(out) :: status
  status = DIJITSO_OK
end subroutine
