#define BOOST_TEST_MODULE speft_cpp
#include <boost/test/unit_test.hpp>
